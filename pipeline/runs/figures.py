"""Figures of a run, drawn through matplotlib's objects: no global state, no display."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.runs.plotting import COLOURS, INK, STYLES, save_figure, style_axes


def mix_figure(mix: pyarrow.Table, path: str) -> None:
    """Draws what the sampler weighted, what the model was unsure of and what was trained, per task over time.

    Args:
        mix: Columns `step`, `task`, `weight`, `mean_uncertainty` (NaN where a task had no candidates) and
            `trained`, one row for every step and task.
        path: Of the PNG.

    Raises:
        ValueError: The table has no rows.
    """
    if mix.num_rows == 0:
        raise ValueError("the mix has no steps to draw")
    steps, tasks, values = _by_step_and_task(mix, ("weight", "mean_uncertainty", "trained"))
    window = len(steps) // 60 * 2 + 1  # odd, so that it has a middle; 1 for short runs
    trained = _moving_sum(np.nan_to_num(values["trained"]), window)
    share = trained / np.maximum(trained.sum(axis=1, keepdims=True), 1)
    known = np.isfinite(values["mean_uncertainty"])
    counts = _moving_sum(known.astype(float), window)
    sums = _moving_sum(np.where(known, values["mean_uncertainty"], 0.0), window)
    uncertainty = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)

    figure = Figure(figsize=(9, max(7.5, 0.24 * len(tasks) + 1.5)), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(3, 1, sharex=True)
    smoothed = f" (over {window} steps)" if window > 1 else ""
    for panel, title, series in zip(
        panels,
        ("Sampling weight", f"Mean uncertainty of candidates{smoothed}", f"Share of trained rows{smoothed}"),
        (values["weight"], uncertainty, share),
        strict=True,
    ):
        for index, task in enumerate(tasks):
            panel.plot(
                steps,
                series[:, index],
                label=task,
                color=COLOURS[index % len(COLOURS)],
                linestyle=STYLES[index // len(COLOURS) % len(STYLES)],
                linewidth=1.6,
                marker="o" if len(steps) == 1 else None,
            )
        panel.set_title(title, loc="left", fontsize=10, color=INK)
        panel.set_ylim(bottom=0)
        panel.margins(x=0.01)
        style_axes(panel)
    panels[-1].set_xlabel("step", color=INK)
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    lines, names = panels[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside right upper", frameon=False, handlelength=3)
    save_figure(figure, path)


def scores_figure(results: Mapping[str, Any], majority: Mapping[str, Mapping[str, float]], path: str) -> None:
    """Draws each task's score, the mean of its metrics, against that of the best constant answer.

    Args:
        results: As in `results.json`; `tasks` holds `{task: {metric: value}}` on the 0–100 scale.
        majority: The same shape, for the constant answer.
        path: Of the PNG.

    Raises:
        ValueError: There are no tasks.
    """
    scores = {task: float(np.mean(list(metrics.values()))) for task, metrics in results["tasks"].items()}
    if not scores:
        raise ValueError("the results have no tasks to draw")
    constant = {task: float(np.mean(list(majority[task].values()))) for task in scores if task in majority}
    names = [*scores, "average"]
    rows = np.arange(len(names))
    bars = [*scores.values(), float(results["average"])]
    marks = [*(constant.get(task, np.nan) for task in scores), np.nan]
    if len(constant) == len(scores):
        marks[-1] = float(np.mean(list(constant.values())))

    figure = Figure(figsize=(8, 0.36 * len(names) + 1.5), layout="constrained")
    panel = figure.subplots()
    colours = [COLOURS[0]] * len(scores) + [INK]
    model = panel.barh(rows, bars, height=0.62, color=colours)
    answer = panel.vlines(marks, rows - 0.42, rows + 0.42, color=COLOURS[1], linewidth=2.5)
    for row, bar, mark in zip(rows, bars, marks, strict=True):
        end = np.nanmax([bar, mark, 0.0])
        panel.annotate(f"{bar:.1f}", (end, row), (6, 0), textcoords="offset points", va="center", color=INK)
    panel.set_yticks(rows, names)
    panel.invert_yaxis()
    panel.set_xlim(min(0.0, *bars) * 1.1, 107)
    panel.set_xticks(range(0, 101, 20))
    panel.set_xlabel("mean of the task's metrics (0–100)", color=INK)
    style_axes(panel, grid="x")
    panel.tick_params(axis="y", length=0)
    handles: list[Any] = [model, answer]
    figure.legend(handles, ["model", "majority answer"], loc="outside upper right", ncols=2, frameon=False)
    save_figure(figure, path)


def _by_step_and_task(
    mix: pyarrow.Table, columns: Sequence[str]
) -> tuple[np.ndarray, list[str], dict[str, np.ndarray]]:
    """The table as one matrix [steps, tasks] per column, tasks in the order of their first appearance."""
    names = mix["task"].combine_chunks().dictionary_encode()
    names = names.combine_chunks() if isinstance(names, pyarrow.ChunkedArray) else names
    tasks: list[str] = names.dictionary.to_pylist()
    steps, rows = np.unique(mix["step"].to_numpy(), return_inverse=True)
    values = {}
    for column in columns:
        matrix = np.full((len(steps), len(tasks)), np.nan)
        matrix[rows, names.indices.to_numpy()] = mix[column].to_numpy()
        values[column] = matrix
    return steps, tasks, values


def _moving_sum(values: np.ndarray, window: int) -> np.ndarray:
    """Sum over the `window` rows around each row of a matrix, over fewer at its ends."""
    sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    rows = np.arange(len(values))
    first = np.maximum(rows - window // 2, 0)
    end = np.minimum(rows + window // 2 + 1, len(values))
    return sums[end] - sums[first]
