"""The tables that jobs print at their end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.config import Settings
from pipeline.experiments.compare.groups import Group
from pipeline.experiments.compare.report import CAUTION
from pipeline.experiments.compare.scores import paired_tests, table_rows
from pipeline.experiments.tune.space import describe_draw

WIDEST = 4  # groups in one printed table


def show_results(results: dict[str, Any], settings: Settings) -> None:
    """Prints scores against the majority answer, costs, and where the run directory and MLflow are."""
    console = Console(width=100)
    console.print(scores_table(results["tasks"], results["majority"]))
    parameters = results["parameters"]
    console.print(
        f"average {results['average']:.2f} at step {results['best_step']} of {results['steps']}   "
        f"{results['rows_trained']} rows trained ({100 * results['fraction_of_data']:.1f}% of the data), "
        f"{results['rows_scored']} scored\n"
        f"{results['seconds']:.0f} s of training, {results['rows_per_second']:.1f} rows/s, "
        f"waiting for data {100 * results['data_wait_fraction']:.1f}%, "
        f"padding {100 * results['padding_fraction']:.1f}%\n"
        f"{parameters['total']:,} parameters ({parameters['trainable']:,} trained), "
        f"x{parameters['versus_separate_models']:.2f} of {len(results['tasks'])} separate models",
        highlight=False,
    )
    run_dir = Path(settings.run.output_dir) / settings.run.name
    console.print(f"\nrun directory  {run_dir}", highlight=False, soft_wrap=True)
    uri = settings.run.tracking_uri
    local = f"run `mlflow ui --backend-store-uri {uri}` and open the address it prints"
    console.print(
        f"MLflow         {uri if uri.startswith('http') else local}", highlight=False, soft_wrap=True
    )


def scores_table(tasks: dict[str, dict[str, float]], majority: dict[str, dict[str, float]]) -> Table:
    """One row per task and metric: score, score of the majority answer, difference."""
    table = Table("task", "metric", title="validation scores")
    for name in ("score", "majority", "gain"):
        table.add_column(name, justify="right")
    for task, scores in tasks.items():
        for metric, value in scores.items():
            constant = majority[task][metric]
            table.add_row(task, metric, f"{value:.1f}", f"{constant:.1f}", f"{value - constant:+.1f}")
    return table


def show_sweep(outcome: dict[str, Any], settings: Settings) -> None:
    """Prints a sweep's trials, best first, and where its results are."""
    console = Console(width=120)
    trials = sorted(outcome["trials"], key=lambda one: (one["average"] is None, -(one["average"] or 0.0)))
    table = Table(title="trials")
    for column in ("trial", "status", "average", "step", "rows trained", "what it drew"):
        table.add_column(column, overflow="fold")
    for one in trials:
        average = "-" if one["average"] is None else f"{one['average']:.2f}"
        status = one["status"] + (f": {one['error']}" if one["status"] == "failed" else "")
        step = str(one["history"][-1][0]) if one["history"] else "-"
        rows = str(one["rows_trained"] or "-")
        table.add_row(str(one["number"]), status, average, step, rows, describe_draw(one["drawn"]))
    console.print(table)
    folder = Path(settings.run.output_dir) / settings.run.name
    finished = sum(one["status"] == "finished" for one in trials)
    console.print(
        f"{finished} of {len(trials)} trials finished in {outcome['seconds']:.0f} s; "
        f"the training of all took {outcome['training_seconds']:.0f} s",
        highlight=False,
    )
    if outcome["best"]:
        best = next(one for one in trials if one["id"] == outcome["best"])
        console.print(f"best: trial {best['number']}, average {best['average']:.2f}", highlight=False)
        command = f"python jobs/train_mtl.py --config {folder / 'best.yaml'}"
        console.print(f"train it again  {command}", soft_wrap=True)
    console.print(f"sweep           {folder}", highlight=False, soft_wrap=True)


def show_comparison(groups: Sequence[Group], remarks: Sequence[str], written: Sequence[str]) -> None:
    """Prints groups of runs side by side, the settings that differ, and the paired tests of their averages."""
    console = Console(width=100, highlight=False)
    rows = table_rows(groups)
    for start in range(0, len(groups), WIDEST):
        columns = range(start, min(start + WIDEST, len(groups)))
        table = Table("task", "metric", title="means over seeds")
        for column in columns:
            table.add_column(Text(groups[column].label), justify="right")
        for row in rows:
            cells = (Text(row.cells[p], style="bold" if p in row.best else "") for p in columns)
            table.add_row(row.name, row.metric, *cells, end_section=row.name.startswith("average"))
        console.print(table)
    for name in groups[0].settings:
        console.print(Text(f"differs: {name}  " + " | ".join(group.settings[name] for group in groups)))
    for group, tests in zip(groups[1:], paired_tests(groups), strict=True):
        for (task, metric), test in tests.items():
            if task.startswith("average") and not metric:
                console.print(Text(f"{group.label} against {groups[0].label}: {task} {test}"))
    if len(groups) > 1:
        console.print(Text(CAUTION))
    for remark in remarks:
        console.print(Text(f"note: {remark}"))
    console.print(Text(f"written to {', '.join(written)}"), soft_wrap=True)
