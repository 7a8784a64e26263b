"""What a finished run leaves: `results.json`, `model/`, tables and figures, and the same in MLflow."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from camtl import CaMtlModel
from camtl.freezing import freeze
from camtl.parameters import count_parameters
from pipeline.runs.checkpoints.checkpoint import MODEL
from pipeline.runs.directory import CONFIG
from pipeline.runs.figures import mix_figure, scores_figure
from pipeline.runs.model_card import model_card
from pipeline.runs.records import list_chunks, merge_chunks, read_summary
from pipeline.tasks.base import Task
from pipeline.tracking.tracker import SaveModel, Tracker

RESULTS = "results.json"


def write_results(
    run_dir: Path,
    tasks: Sequence[Task],
    best: tuple[Path, Mapping[str, Any]],
    rows_available: Sequence[int],
    seed: int,
    baseline: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Write everything that a run leaves into its directory; may be done again after it has failed half-way.

    Args:
        run_dir: the run directory, with its records.
        tasks: the run's tasks.
        best: folder of the best checkpoint, and what was reported with it.
        rows_available: training rows of each task.
        seed: of the run.
        baseline: each task's scores of a constant answer.

    Returns:
        What `results.json` holds.

    Raises:
        OSError: the run directory cannot be written.
    """
    checkpoint, reported = best
    mix, rows = merge_chunks(run_dir, "mix.parquet"), merge_chunks(run_dir, "rows.parquet")
    model: CaMtlModel = CaMtlModel.from_pretrained(checkpoint / MODEL)
    freeze(model, reported["freeze"])
    by_task = sampling(
        mix,
        rows,
        dict(zip([task.name for task in tasks], rows_available, strict=True)),
        scored=any(read_summary(chunk)["rows_scored"] for chunk in list_chunks(run_dir)),
    )
    results = {
        **reported["scores"],
        **totals(run_dir, by_task),
        "sampling": by_task,
        "parameters": count_parameters(model),
        "seed": seed,
        "best_step": reported["step"],
    }
    target = run_dir / MODEL
    writing = run_dir / ".model"
    shutil.rmtree(writing, ignore_errors=True)
    shutil.copytree(checkpoint / MODEL, writing)
    (writing / "tasks.json").write_text(json.dumps([task.name for task in tasks], indent=1))
    (writing / "README.md").write_text(model_card(model, tasks, results, (run_dir / CONFIG).read_text()))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(writing, target)
    (run_dir / RESULTS).write_text(json.dumps(results, indent=2) + "\n")
    mix_figure(mix, str(run_dir / "mix.png"))
    scores_figure(results, baseline, str(run_dir / "scores.png"))
    return results


def log_results(run_dir: Path, tasks: Sequence[Task], tracker: Tracker, save_model: SaveModel) -> None:
    """Sends MLflow what `write_results` wrote."""
    for name in (RESULTS, "config.yaml", "mix.parquet", "mix.png", "scores.png"):
        tracker.log_artifact(str(run_dir / name))
    tracker.log_model(str(run_dir / MODEL), [task.name for task in tasks], save_model)


def sampling(
    mix: pa.Table, rows: pa.Table, rows_available: Mapping[str, int], *, scored: bool
) -> dict[str, dict[str, Any]]:
    """What became of each task's rows in a whole run.

    Args:
        mix: `mix.parquet`.
        rows: `rows.parquet`.
        rows_available: {task: training rows that were prepared}, every task of the run.
        scored: whether candidates were scored; without selection none are.

    Returns:
        {task: counts}. A row counts as often as it came, except where it says distinct.
        `rows_available`: training rows, one pass over the task;
        `rows_drawn`: candidates;
        `rows_scored`: those that the model scored, so as to choose among them;
        `rows_trained`: those trained on;
        `epochs`: passes over the task as candidates, `rows_drawn` / `rows_available`;
        `distinct_rows_drawn`: rows that were a candidate at least once. The plan draws every row once
        before any comes again, so it is the smaller of `rows_drawn` and `rows_available`;
        `distinct_rows_trained`: rows trained on at least once;
        `fraction_of_data`: `distinct_rows_trained` / `rows_available`.
    """
    sums = mix.group_by("task").aggregate([("candidates", "sum"), ("trained", "sum")])
    drawn, trained = (
        dict(zip(sums["task"].to_pylist(), sums[f"{name}_sum"].to_pylist(), strict=True))
        for name in ("candidates", "trained")
    )
    counted = rows.group_by("task").aggregate([("row_id", "count_distinct")])
    distinct = dict(
        zip(counted["task"].to_pylist(), counted["row_id_count_distinct"].to_pylist(), strict=True)
    )
    return {
        task: {
            "rows_available": available,
            "rows_drawn": drawn.get(task, 0),
            "rows_scored": drawn.get(task, 0) if scored else 0,
            "rows_trained": trained.get(task, 0),
            "epochs": drawn.get(task, 0) / available,
            "distinct_rows_drawn": min(drawn.get(task, 0), available),
            "distinct_rows_trained": distinct.get(task, 0),
            "fraction_of_data": distinct.get(task, 0) / available,
        }
        for task, available in rows_available.items()
    }


def totals(run_dir: Path, by_task: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and rates of a whole run.

    Args:
        run_dir: has the run's records.
        by_task: what `sampling` counted.

    Returns:
        `steps`;
        `rows_scored`: rows that the model scored so as to choose among them, each as often as it was;
        `rows_trained`: rows trained on, each as often as it was;
        `fraction_of_data`: distinct rows trained on over the rows available, all tasks together;
        `seconds`: of training, evaluation and saving left out;
        `rows_per_second`: rows trained over those seconds;
        `data_wait_fraction`: share of those seconds spent waiting for rows;
        `padding_fraction`: share of padding among the tokens computed, in scoring and in training.
    """
    summaries = [read_summary(chunk) for chunk in list_chunks(run_dir)]

    def total(name: str) -> float:
        return float(sum(summary[name] for summary in summaries))

    def over_tasks(name: str) -> int:
        return sum(int(counts[name]) for counts in by_task.values())

    return {
        "steps": summaries[-1]["last_step"],
        "rows_scored": int(total("rows_scored")),
        "rows_trained": int(total("rows_trained")),
        "fraction_of_data": over_tasks("distinct_rows_trained") / over_tasks("rows_available"),
        "seconds": total("seconds"),
        "rows_per_second": total("rows_trained") / total("seconds"),
        "data_wait_fraction": total("seconds_waited") / total("seconds"),
        "padding_fraction": 1 - total("tokens_real") / total("tokens_computed"),
    }
