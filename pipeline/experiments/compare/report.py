"""The comparison as files: Markdown to read, long tables as CSV, and a figure."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.experiments.compare.groups import Group
from pipeline.experiments.compare.scores import costs_of, paired_tests, score_frame, table_rows
from pipeline.runs.plotting import COLOURS, INK, save_figure, style_axes

CAUTION = (
    "Paired t-tests over the seeds that both groups have, scores against the first group's. A p over three seeds is "
    "weak evidence, and no p is corrected for the number of tasks or groups."
)

MARKERS = "osD^v<>"  # one for every eight groups


def write_report(groups: Sequence[Group], remarks: Sequence[str], folder: str) -> list[str]:
    """Writes `compare.md`, `compare.csv`, `compare_tests.csv` and `compare.png`; returns their paths.

    Raises:
        ValueError: The folder cannot be written.
    """
    output = Path(folder)
    texts = {
        "compare.md": markdown(groups, remarks),
        "compare.csv": values_frame(groups).to_csv(index=False),
        "compare_tests.csv": tests_frame(groups).to_csv(index=False),
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            unfinished = output / f"{name}.part"
            unfinished.write_text(text)
            os.replace(unfinished, output / name)
        compare_figure(groups, str(output / "compare.png"))
    except OSError as error:
        raise ValueError(
            f"--output_dir {folder} cannot be written ({error.strerror}): set another one"
        ) from error
    return [str(output / name) for name in (*texts, "compare.png")]


def markdown(groups: Sequence[Group], remarks: Sequence[str]) -> str:
    """Returns the complete comparison as a page; the best mean of a row is bold."""
    labels = [group.label for group in groups]
    scores = [
        [row.name, row.metric, *(f"**{c}**" if p in row.best else c for p, c in enumerate(row.cells))]
        for row in table_rows(groups)
    ]
    parts = ["# Comparison", _table(["task", "metric", *labels], scores)]
    parts.append("Scores are means over seeds ± standard deviation (n - 1), on the 0–100 scale.")
    if groups[0].settings:
        settings = [[name, *(group.settings[name] for group in groups)] for name in groups[0].settings]
        parts += ["## What differs", _table(["setting", *labels], settings)]
    for group, tests in zip(groups[1:], paired_tests(groups), strict=True):
        differences = [[*row, str(test)] for row, test in tests.items()]
        parts.append(f"## {group.label} against {labels[0]}")
        parts.append(_table(["task", "metric", "difference"], differences))
    if len(groups) > 1:
        parts.append(CAUTION)
    members = (f"- {g.label}: {', '.join(f'{r.name} ({r.run_id})' for r in g.runs)}" for g in groups)
    parts += ["## Runs", "\n".join(members)]
    if remarks:
        parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts) + "\n"


def values_frame(groups: Sequence[Group]) -> pd.DataFrame:
    """Returns a row for every number of every run: group, settings that differ, run, seed, task, metric, value."""
    rows = []
    for group in groups:
        for run in group.runs:
            head = [group.label, *group.settings.values(), run.run_id, run.name, run.seed]
            for task, metrics in run.results["tasks"].items():
                rows += [[*head, task, metric, value] for metric, value in metrics.items()]
            rows.append([*head, "", "average", run.results["average"]])
            rows += [[*head, "", cost, value] for cost, value in costs_of(run).items()]
    names = ["group", *groups[0].settings, "run_id", "run", "seed", "task", "metric", "value"]
    return pd.DataFrame(rows, columns=names, dtype=object)


def tests_frame(groups: Sequence[Group]) -> pd.DataFrame:
    """Returns a row for every score of every group after the first; low, high and p are empty without a test."""
    rows = [
        {"group": group.label, "against": groups[0].label, "task": task, "metric": metric, **vars(test)}
        for group, tests in zip(groups[1:], paired_tests(groups), strict=True)
        for (task, metric), test in tests.items()
    ]
    names = ["group", "against", "task", "metric", "seeds", "difference", "low", "high", "p"]
    return pd.DataFrame(rows, columns=names)


def _table(names: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [names, ["---"] * len(names), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def compare_figure(groups: Sequence[Group], path: str) -> None:
    """Draws each task's score, the mean of its metrics, and the average; pale dots are single seeds."""
    tasks = score_frame(groups).groupby(level="task", sort=False).mean()
    height = min(60.0, len(tasks) * (0.25 + 0.17 * len(groups)) + 1.2 + 0.2 * len(groups))
    figure = Figure(figsize=(8, height), layout="constrained")
    panel = figure.subplots()
    offsets = (np.arange(len(groups)) - (len(groups) - 1) / 2) * 0.7 / max(2, len(groups))
    for position, group in enumerate(groups):
        scores, y = tasks[position], np.arange(len(tasks)) + offsets[position]
        colour = COLOURS[position % len(COLOURS)]
        panel.plot(scores, y, "o", color=colour, alpha=0.3, markersize=4, linestyle="none")
        marker = MARKERS[position // len(COLOURS) % len(MARKERS)]
        means, spread = scores.mean(axis=1), scores.std(axis=1)
        panel.errorbar(means, y, xerr=spread, fmt=marker, color=colour, capsize=3, label=group.label)
    panel.set_yticks(range(len(tasks)), list(tasks.index))
    panel.invert_yaxis()
    panel.set_xlabel("mean of the task's metrics (0–100), ± standard deviation over seeds", color=INK)
    style_axes(panel, grid="x")
    panel.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", frameon=False, ncols=1)
    save_figure(figure, path)
