"""The figures of a run, drawn with matplotlib's objects: no global state, no display."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.runs.plotting import COLOURS, INK, STYLES, save_figure, style_axes


def mix_figure(mix: pa.Table, path: str) -> None:
    """Draws sampling weight, mean uncertainty and share of the trained rows of every task over the steps.

    `mix` has a row for every step and task, with the columns `step`, `task`, `weight`, `mean_uncertainty` (NaN where
    a task had no candidates) and `trained`. Raises ValueError without rows.
    """
    if mix.num_rows == 0:
        raise ValueError("the mix has no steps to draw")
    frame = mix.to_pandas()
    tasks = list(frame["task"].unique())
    wide = frame.pivot(index="step", columns="task")  # a table [steps, tasks] for each of the other columns
    window = len(wide) // 60 * 2 + 1  # odd, so that the window is centred; 1 for short runs
    around_step = {"window": window, "min_periods": 1, "center": True}
    trained = wide["trained"].fillna(0).rolling(**around_step).sum()
    share = trained.div(trained.sum(axis=1).clip(lower=1), axis=0)
    uncertainty = wide["mean_uncertainty"].rolling(**around_step).mean()

    figure = Figure(figsize=(9, max(7.5, 0.24 * len(tasks) + 1.5)), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(3, 1, sharex=True)
    smoothed = f" (over {window} steps)" if window > 1 else ""
    for panel, title, series in zip(
        panels,
        ("Sampling weight", f"Mean uncertainty of candidates{smoothed}", f"Share of trained rows{smoothed}"),
        (wide["weight"], uncertainty, share),
        strict=True,
    ):
        for index, task in enumerate(tasks):
            panel.plot(
                series.index,
                series[task],
                label=task,
                color=COLOURS[index % len(COLOURS)],
                linestyle=STYLES[index // len(COLOURS) % len(STYLES)],
                linewidth=1.6,
                marker="o" if len(series) == 1 else None,
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
    """Draws each task's score, the mean of its metrics, beside the score of the best constant answer.

    `results` is the content of `results.json`, `majority` holds {task: {metric: value}} of the constant answer.
    Raises ValueError without tasks.
    """
    scores = {task: _mean(metrics) for task, metrics in results["tasks"].items()}
    if not scores:
        raise ValueError("the results have no tasks to draw")
    constant = [_mean(majority[task]) if task in majority else np.nan for task in scores]
    names = [*scores, "average"]
    rows = np.arange(len(names))
    bars = [*scores.values(), float(results["average"])]
    marks = [*constant, float(np.mean(constant))]

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


def _mean(metrics: Mapping[str, float]) -> float:
    return float(np.mean(list(metrics.values())))
