"""The comparison as files: Markdown for people, long tables for pandas, a figure."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.experiments.compare.figure import compare_figure
from pipeline.experiments.compare.groups import Group
from pipeline.experiments.compare.table import COSTS, in_words, rows_of, tests_of

CAUTION = (
    "Paired t-tests over the seeds that both groups have, scores against the first group's. A p over three seeds is "
    "weak evidence, and no p is corrected for the number of tasks or groups."
)


def write_report(groups: Sequence[Group], remarks: Sequence[str], folder: str) -> list[str]:
    """Writes `compare.md`, `compare.csv`, `compare_tests.csv` and `compare.png`; gives their paths.

    Raises:
        ValueError: the folder cannot be written.
    """
    texts = {
        "compare.md": markdown(groups, remarks),
        "compare.csv": values_csv(groups),
        "compare_tests.csv": differences_csv(groups),
    }
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            unfinished = place / f"{name}.part"
            unfinished.write_text(text)
            os.replace(unfinished, place / name)
        compare_figure(groups, str(place / "compare.png"))
    except OSError as error:
        raise ValueError(
            f"--output_dir {folder} cannot be written ({error.strerror}): give another one"
        ) from error
    return [str(place / name) for name in (*texts, "compare.png")]


def markdown(groups: Sequence[Group], remarks: Sequence[str]) -> str:
    """The whole comparison as a page; the best mean of a row is bold."""
    labels = [group.label for group in groups]
    table = [
        [row.name, row.metric, *(f"**{c}**" if p in row.best else c for p, c in enumerate(row.cells))]
        for row in rows_of(groups)
    ]
    parts = ["# Comparison", _table(["task", "metric", *labels], table)]
    parts.append("Scores are means over seeds ± standard deviation (n - 1), on the 0–100 scale.")
    if names := list(groups[0].settings):
        parts += [
            "## What differs",
            _table(["setting", *labels], [[n, *(g.settings[n] for g in groups)] for n in names]),
        ]
    for group, tests in zip(groups[1:], tests_of(groups), strict=True):
        lines = [[task, metric, in_words(test)] for (task, metric), test in tests.items()]
        parts += [f"## {group.label} against {labels[0]}", _table(["task", "metric", "difference"], lines)]
    if len(groups) > 1:
        parts.append(CAUTION)
    parts += [
        "## Runs",
        "\n".join(f"- {g.label}: {', '.join(f'{r.name} ({r.run_id})' for r in g.runs)}" for g in groups),
    ]
    if remarks:
        parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts) + "\n"


def values_csv(groups: Sequence[Group]) -> str:
    """A line for every number of every run: group, settings that differ, run, seed, task, metric, value."""
    names = list(groups[0].settings)
    lines: list[list[object]] = [["group", *names, "run_id", "run", "seed", "task", "metric", "value"]]
    for group in groups:
        for run in group.runs:
            head = [group.label, *(group.settings[n] for n in names), run.run_id, run.name, run.seed]
            for task, metrics in run.results["tasks"].items():
                lines += [[*head, task, metric, value] for metric, value in metrics.items()]
            lines.append([*head, "", "average", run.results["average"]])
            lines += [[*head, "", cost, value(run)] for cost, (value, _) in COSTS.items()]
    return _csv(lines)


def differences_csv(groups: Sequence[Group]) -> str:
    """A line for every score of every group after the first; low, high and p are empty without a test."""
    lines: list[list[object]] = [
        ["group", "against", "task", "metric", "seeds", "difference", "low", "high", "p"]
    ]
    for group, tests in zip(groups[1:], tests_of(groups), strict=True):
        for (task, metric), t in tests.items():
            lines.append(
                [group.label, groups[0].label, task, metric, len(t.seeds), t.difference, t.low, t.high, t.p]
            )
    return _csv(lines)


def _csv(lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [names, ["---"] * len(names), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
