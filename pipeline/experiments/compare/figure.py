"""The comparison's figure: a dot for every group's mean in every task, with the spread over its seeds."""

from collections.abc import Sequence
from statistics import mean

import numpy as np
from matplotlib.figure import Figure

from pipeline.experiments.compare.groups import Group
from pipeline.experiments.compare.statistics import spread
from pipeline.experiments.compare.table import score_values
from pipeline.runs.plotting import COLOURS, INK, save_figure, style_axes

MARKERS = "osD^v<>"  # one for every eight groups


def compare_figure(groups: Sequence[Group], path: str) -> None:
    """Draws each task's score, the mean of its metrics, and the average; pale dots are single seeds."""
    tasks: dict[str, list[dict[int, float]]] = {}
    for name in dict.fromkeys(task for task, _ in score_values(groups)):
        parts = [by_group for (task, _), by_group in score_values(groups).items() if task == name]
        tasks[name] = [
            {
                seed: mean(part[place][seed] for part in parts if seed in part[place])
                for seed in parts[0][place]
            }
            for place in range(len(groups))
        ]
    height = min(60.0, len(tasks) * (0.25 + 0.17 * len(groups)) + 1.2 + 0.2 * len(groups))
    figure = Figure(figsize=(8, height), layout="constrained")
    panel = figure.subplots()
    offsets = (np.arange(len(groups)) - (len(groups) - 1) / 2) * 0.7 / max(2, len(groups))
    for place, group in enumerate(groups):
        colour = COLOURS[place % len(COLOURS)]
        label: str | None = group.label
        for row, by_group in enumerate(tasks.values()):
            if not (values := list(by_group[place].values())):
                continue
            middle, deviation = spread(values)
            at = row + offsets[place]
            panel.plot(
                values, [at] * len(values), "o", color=colour, alpha=0.3, markersize=4, linestyle="none"
            )
            marker = MARKERS[place // len(COLOURS) % len(MARKERS)]
            panel.errorbar(middle, at, xerr=deviation, fmt=marker, color=colour, capsize=3, label=label)
            label = None  # once in the legend
    panel.set_yticks(range(len(tasks)), list(tasks))
    panel.invert_yaxis()
    panel.set_xlabel("mean of the task's metrics (0–100), ± standard deviation over seeds", color=INK)
    style_axes(panel, grid="x")
    panel.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", frameon=False, ncols=1)
    save_figure(figure, path)
