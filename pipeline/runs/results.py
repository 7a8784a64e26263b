"""The results of a finished run: `results.json`, `model/`, tables and figures, also sent to MLflow."""

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
    """Writes all results into the run directory and returns the content of `results.json`.

    Safe to repeat after an OSError. `best` is the folder of the best checkpoint and the metrics that were reported
    with it, `rows_available` the prepared training rows of each task, `baseline` each task's scores of a constant
    answer.
    """
    checkpoint, reported = best
    mix, rows = merge_chunks(run_dir, "mix.parquet"), merge_chunks(run_dir, "rows.parquet")
    model: CaMtlModel = CaMtlModel.from_pretrained(checkpoint / MODEL)
    freeze(model, reported["freeze"])
    names = [task.name for task in tasks]
    summaries = [read_summary(chunk) for chunk in list_chunks(run_dir)]
    scored = any(summary["rows_scored"] for summary in summaries)
    counts = count_rows(mix, rows, dict(zip(names, rows_available, strict=True)), scored=scored)
    results = {
        **reported["scores"],
        **summarize(summaries, counts),
        "sampling": counts,
        "parameters": count_parameters(model),
        "seed": seed,
        "best_step": reported["step"],
    }
    target, unfinished = run_dir / MODEL, run_dir / ".model"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(checkpoint / MODEL, unfinished)
    (unfinished / "tasks.json").write_text(json.dumps(names, indent=1))
    card = model_card(model, tasks, results, (run_dir / CONFIG).read_text())
    (unfinished / "README.md").write_text(card)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(unfinished, target)
    (run_dir / RESULTS).write_text(json.dumps(results, indent=2) + "\n")
    mix_figure(mix, str(run_dir / "mix.png"))
    scores_figure(results, baseline, str(run_dir / "scores.png"))
    return results


def log_results(run_dir: Path, tasks: Sequence[Task], tracker: Tracker, save_model: SaveModel) -> None:
    """Sends MLflow the files and the model of `write_results`."""
    for name in (RESULTS, CONFIG, "mix.parquet", "mix.png", "scores.png"):
        tracker.log_artifact(str(run_dir / name))
    tracker.log_model(str(run_dir / MODEL), [task.name for task in tasks], save_model)


def count_rows(
    mix: pa.Table, rows: pa.Table, rows_available: Mapping[str, int], *, scored: bool
) -> dict[str, dict[str, Any]]:
    """Counts each task's rows in a run. A row counts each time it occurs, except in the `distinct` columns.

    `rows_available` has every task of the run. Without selection, no candidates are `scored`.

    Returns:
        {task: {column: value}}, with the columns
        `rows_available`: training rows, one pass over the task;
        `rows_drawn`: candidates;
        `rows_scored`: candidates that the model scored for selection;
        `rows_trained`: rows trained on;
        `epochs`: passes over the task as candidates, `rows_drawn` / `rows_available`;
        `distinct_rows_drawn`: the smaller of `rows_drawn` and `rows_available`, as the plan draws every row once before
        any row again;
        `distinct_rows_trained`: rows trained on at least once;
        `fraction_of_data`: `distinct_rows_trained` / `rows_available`.
    """
    distinct = rows.group_by("task").aggregate([("row_id", "count_distinct")])
    sums = mix.group_by("task").aggregate([("candidates", "sum"), ("trained", "sum")]).join(distinct, "task")
    table = sums.to_pandas().set_index("task").reindex(list(rows_available)).fillna(0).astype(int)
    return {
        row.Index: {
            "rows_available": available,
            "rows_drawn": row.candidates_sum,
            "rows_scored": row.candidates_sum if scored else 0,
            "rows_trained": row.trained_sum,
            "epochs": row.candidates_sum / available,
            "distinct_rows_drawn": min(row.candidates_sum, available),
            "distinct_rows_trained": row.row_id_count_distinct,
            "fraction_of_data": row.row_id_count_distinct / available,
        }
        for row, available in zip(table.itertuples(), rows_available.values(), strict=True)
    }


def summarize(
    summaries: Sequence[Mapping[str, Any]], counts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Totals and rates of a run, from the summaries of all chunks in the order of steps and from `count_rows`.

    Returns:
        `steps`;
        `rows_scored`, `rows_trained`: each row as often as it was scored or trained on;
        `fraction_of_data`: distinct rows trained on / rows available, over all tasks;
        `seconds`: seconds of training, without evaluation and saving;
        `rows_per_second`: rows trained on / `seconds`;
        `data_wait_fraction`: share of `seconds` spent waiting for rows;
        `padding_fraction`: share of padding in the tokens computed for scoring and training.
    """

    def total(name: str) -> Any:
        return sum(summary[name] for summary in summaries)

    def over_tasks(name: str) -> int:
        return sum(columns[name] for columns in counts.values())

    seconds = total("seconds")
    return {
        "steps": summaries[-1]["last_step"],
        "rows_scored": total("rows_scored"),
        "rows_trained": total("rows_trained"),
        "fraction_of_data": over_tasks("distinct_rows_trained") / over_tasks("rows_available"),
        "seconds": seconds,
        "rows_per_second": total("rows_trained") / seconds,
        "data_wait_fraction": total("seconds_waited") / seconds,
        "padding_fraction": 1 - total("tokens_real") / total("tokens_computed"),
    }
