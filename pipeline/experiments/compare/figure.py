"""The comparison's figure: each group's mean in every task, with the spread over its seeds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.experiments.compare.groups import Group
from pipeline.experiments.compare.scores import score_frame
from pipeline.runs.plotting import COLOURS, INK, save_figure, style_axes

MARKERS = "osD^v<>"  # one for every eight groups


def compare_figure(groups: Sequence[Group], path: str) -> None:
    """Draws each task's score, the mean of its metrics, and the average; pale dots are single seeds."""
    tasks = score_frame(groups).groupby(level="task", sort=False).mean()
    height = min(60.0, len(tasks) * (0.25 + 0.17 * len(groups)) + 1.2 + 0.2 * len(groups))
    figure = Figure(figsize=(8, height), layout="constrained")
    panel = figure.subplots()
    offsets = (np.arange(len(groups)) - (len(groups) - 1) / 2) * 0.7 / max(2, len(groups))
    for place, group in enumerate(groups):
        scores, y = tasks[place], np.arange(len(tasks)) + offsets[place]
        colour = COLOURS[place % len(COLOURS)]
        panel.plot(scores, y, "o", color=colour, alpha=0.3, markersize=4, linestyle="none")
        marker = MARKERS[place // len(COLOURS) % len(MARKERS)]
        means, spread = scores.mean(axis=1), scores.std(axis=1)
        panel.errorbar(means, y, xerr=spread, fmt=marker, color=colour, capsize=3, label=group.label)
    panel.set_yticks(range(len(tasks)), list(tasks.index))
    panel.invert_yaxis()
    panel.set_xlabel("mean of the task's metrics (0–100), ± standard deviation over seeds", color=INK)
    style_axes(panel, grid="x")
    panel.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", frameon=False, ncols=1)
    save_figure(figure, path)
