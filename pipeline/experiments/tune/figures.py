"""Figures of a sweep: the settings of its trials, which settings matter, and how two objectives trade off."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.experiments.tune.records import FINISHED, TrialRecord
from pipeline.experiments.tune.search import make_study
from pipeline.experiments.tune.space import Dimension, Space
from pipeline.runs.plotting import COLOURS, INK, PALE, save_figure, style_axes

FEWEST_FOR_IMPORTANCE = 4


def parallel_figure(space: Space, records: Sequence[TrialRecord], path: Path) -> None:
    """Draws each trial as a line through its settings to its average, which it must have; dashed: did not finish."""
    averages = [record.average or 0.0 for record in records]
    low, high = min(averages), max(averages)
    span = high - low or 1.0
    figure = Figure(figsize=(2.2 * (len(space) + 1) + 1, 5), layout="constrained")
    panel: Axes = figure.subplots()
    for record, average in zip(records, averages, strict=True):
        heights = [_height(dimension, record.drawn[dimension.name]) for dimension in space]
        panel.plot(
            [*heights, (average - low) / span],
            color=colormaps["viridis"](0.9 - 0.9 * (average - low) / span),
            linestyle="-" if record.status == FINISHED else (0, (3, 2)),
            linewidth=1.8,
            alpha=0.85,
        )
    scale = [(height, f"{low + height * span:.1f}") for height in (0.0, 0.5, 1.0)]
    for position, ticks in enumerate([*map(_ticks, space), scale]):
        panel.axvline(position, color=PALE, linewidth=1)
        for height, text in ticks:
            panel.annotate(
                text, (position, height), (4, 0), textcoords="offset points", va="center", fontsize=8
            )
    panel.set_xticks(range(len(space) + 1), [*(one.name.split(".")[-1] for one in space), "average"])
    panel.set_yticks([])
    panel.set_ylim(-0.05, 1.05)
    panel.margins(x=0.08)
    style_axes(panel)
    panel.grid(False)
    panel.set_title("Trials; dashed ones were stopped early or failed", loc="left", fontsize=10, color=INK)
    save_figure(figure, str(path))


def _height(dimension: Dimension, value: Any) -> float:
    """Returns the position of a value on its axis, 0 to 1."""
    if dimension.options is not None:
        options = list(dimension.options)
        return options.index(value) / max(1, len(options) - 1)
    ends = np.array([dimension.low, dimension.high, value], dtype=float)
    low, high, height = np.log(ends) if dimension.kind == "loguniform" else ends
    return float((height - low) / (high - low))


def _ticks(dimension: Dimension) -> list[tuple[float, str]]:
    if dimension.options is not None:
        return [(_height(dimension, option), str(option)) for option in dimension.options]
    return [(_height(dimension, value), f"{value:.3g}") for value in (dimension.low, dimension.high)]


def importance_figure(space: Space, records: Sequence[TrialRecord], path: Path) -> bool:
    """Draws the share of the averages' variance that each setting explains (fANOVA, Hutter et al. 2014).

    Returns:
        Whether the figure was drawn: it needs four finished trials with different averages.
    """
    finished = [record for record in records if record.status == FINISHED]
    if len(finished) < FEWEST_FOR_IMPORTANCE or len({record.average for record in finished}) < 2:
        return False
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(make_study(space, finished), evaluator=evaluator)
    figure = Figure(figsize=(7, 0.4 * len(shares) + 1.2), layout="constrained")
    panel: Axes = figure.subplots()
    panel.barh(list(shares), list(shares.values()), height=0.6, color=COLOURS[0])
    panel.invert_yaxis()
    panel.set_xlim(0, 1)
    panel.set_xlabel(f"share of the averages' variance over {len(finished)} finished trials", color=INK)
    style_axes(panel, grid="x")
    save_figure(figure, str(path))
    return True


def pareto_figure(
    finished: Sequence[TrialRecord], pareto: Collection[str], objectives: Sequence[str], path: Path
) -> None:
    """Draws the average against the second objective; trials with an id in `pareto` are filled."""
    other = next(name for name in objectives if name != "average")
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    panel: Axes = figure.subplots()
    for record in finished:
        point = (float(getattr(record, other)), record.average or 0.0)
        panel.plot(*point, "o", color=COLOURS[0], fillstyle="full" if record.id in pareto else "none")
        panel.annotate(str(record.number), point, (6, 4), textcoords="offset points", fontsize=8, color=INK)
    panel.set_xlabel(other.replace("_", " "), color=INK)
    panel.set_ylabel("average", color=INK)
    style_axes(panel)
    save_figure(figure, str(path))
