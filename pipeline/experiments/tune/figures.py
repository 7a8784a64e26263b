"""Figures of a sweep: which settings its trials had, which of them mattered, what was traded for what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pipeline.experiments.tune.log import FINISHED, TrialRecord
from pipeline.experiments.tune.search import optuna_space
from pipeline.experiments.tune.space import Dimension, Space
from pipeline.runs.plotting import COLOURS, INK, PALE, save_figure, style_axes

FEWEST_FOR_IMPORTANCE = 4


def parallel_figure(space: Space, records: Sequence[TrialRecord], path: Path) -> None:
    """Draws each trial as a line through what it drew to its average; those stopped early are dashed.

    Args:
        space: Axes, in this order.
        records: Trials that have an average.
        path: Of the PNG.
    """
    averages = np.array([record.average or 0.0 for record in records])
    low, high = float(averages.min()), float(averages.max())
    norm = Normalize(low, high if high > low else low + 1)
    columns = [_heights(dimension, records) for dimension in space]
    columns.append([float(norm(value)) for value in averages])
    figure = Figure(figsize=(2.2 * len(columns) + 1, 5), layout="constrained")
    panel: Axes = figure.subplots()
    colours = _colours(averages, norm)
    for number, record in enumerate(records):
        panel.plot(
            range(len(columns)),
            [column[number] for column in columns],
            color=colours[number],
            linestyle="-" if record.status == FINISHED else (0, (3, 2)),
            linewidth=1.8,
            alpha=0.85,
        )
    for place, dimension in enumerate(space):
        panel.axvline(place, color=PALE, linewidth=1)
        for height, text in _ticks(dimension):
            panel.annotate(text, (place, height), (4, 0), textcoords="offset points", va="center", fontsize=8)
    panel.axvline(len(space), color=PALE, linewidth=1)
    for height in (0.0, 0.5, 1.0):
        text = f"{low + height * (norm.vmax - low):.1f}"  # type: ignore[operator]
        panel.annotate(
            text, (len(space), height), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
    panel.set_xticks(range(len(columns)), [*(one.name.split(".")[-1] for one in space), "average"])
    panel.set_yticks([])
    panel.set_ylim(-0.05, 1.05)
    panel.margins(x=0.08)
    style_axes(panel)
    panel.grid(False)
    panel.set_title("Trials; dashed ones were stopped early or failed", loc="left", fontsize=10, color=INK)
    save_figure(figure, str(path))


def _colours(values: np.ndarray, norm: Normalize) -> list[Any]:
    """A colour for each value, pale to strong."""
    return [colormaps["viridis"](0.9 - 0.9 * float(norm(value))) for value in values]


def _heights(dimension: Dimension, records: Sequence[TrialRecord]) -> list[float]:
    return [_height(dimension, record.drawn[dimension.name]) for record in records]


def _height(dimension: Dimension, value: Any) -> float:
    """Where a value lies on its axis, 0 to 1."""
    if dimension.options is not None:
        options = list(dimension.options)
        return options.index(value) / max(1, len(options) - 1)
    low, high = dimension.low, dimension.high
    if dimension.kind == "loguniform":
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low))


def _ticks(dimension: Dimension) -> list[tuple[float, str]]:
    if dimension.options is not None:
        return [(_height(dimension, option), str(option)) for option in dimension.options]
    return [(_height(dimension, value), f"{value:.3g}") for value in (dimension.low, dimension.high)]


def importance_figure(space: Space, finished: Sequence[TrialRecord], path: Path) -> bool:
    """Draws how much of the averages' variance each setting explains (fANOVA, Hutter et al. 2014).

    Returns:
        Whether there was something to draw: four finished trials whose averages differ.
    """
    if len(finished) < FEWEST_FOR_IMPORTANCE or len({record.average for record in finished}) < 2:
        return False
    distributions = optuna_space(space)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.trial.create_trial(params=record.drawn, distributions=distributions, value=record.average)
        for record in finished
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    names = list(shares)[::-1]
    figure = Figure(figsize=(7, 0.4 * len(names) + 1.2), layout="constrained")
    panel: Axes = figure.subplots()
    panel.barh(names, [shares[name] for name in names], height=0.6, color=COLOURS[0])
    panel.set_xlim(0, 1)
    panel.set_xlabel(f"share of the averages' variance over {len(finished)} finished trials", color=INK)
    style_axes(panel, grid="x")
    save_figure(figure, str(path))
    return True


def pareto_figure(
    finished: Sequence[TrialRecord], front: Sequence[TrialRecord], objectives: Sequence[str], path: Path
) -> None:
    """Draws the averages against the second objective; trials that none beats in both are filled."""
    other = next(name for name in objectives if name != "average")
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    panel: Axes = figure.subplots()
    for record in finished:
        filled = any(record.id == one.id for one in front)
        place = (float(getattr(record, other)), record.average or 0.0)
        panel.plot(*place, "o", color=COLOURS[0], fillstyle="full" if filled else "none")
        panel.annotate(str(record.number), place, (6, 4), textcoords="offset points", fontsize=8, color=INK)
    panel.set_xlabel(other.replace("_", " "), color=INK)
    panel.set_ylabel("average", color=INK)
    style_axes(panel)
    save_figure(figure, str(path))
