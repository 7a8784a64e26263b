"""What a finished run leaves: `results.json`, `model/`, tables and figures, and the same in MLflow."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from camtl import CaMtlModel
from camtl.freezing import count_parameters, freeze
from pipeline.figures import mix_figure, scores_figure
from pipeline.model_card import model_card
from pipeline.records import chunks, merge, read_summary
from pipeline.tasks.base import Task
from pipeline.tracking import Tracker


def finish_run(
    run_dir: Path,
    tasks: Sequence[Task],
    best: tuple[Path, Mapping[str, Any]],
    rows_available: int,
    seed: int,
    baseline: Mapping[str, Mapping[str, float]],
    tracker: Tracker,
) -> dict[str, Any]:
    """Write everything that a run leaves into its directory and into MLflow.

    Args:
        run_dir: the run directory, with its records.
        tasks: the run's tasks.
        best: folder of the best checkpoint, and what was reported with it.
        rows_available: training rows of all tasks together.
        seed: of the run.
        baseline: each task's scores of a constant answer.
        tracker: of the run.

    Returns:
        What `results.json` holds.
    """
    checkpoint, reported = best
    mix, rows = merge(run_dir, "mix.parquet"), merge(run_dir, "rows.parquet")
    model: CaMtlModel = CaMtlModel.from_pretrained(checkpoint / "model")
    freeze(model, reported["freeze"])
    results = {
        **reported["scores"],
        **totals(run_dir, rows, rows_available),
        "parameters": count_parameters(model),
        "seed": seed,
        "best_step": reported["step"],
    }
    target = run_dir / "model"
    writing = run_dir / ".model"
    shutil.rmtree(writing, ignore_errors=True)
    shutil.copytree(checkpoint / "model", writing)
    (writing / "tasks.json").write_text(json.dumps([task.name for task in tasks], indent=1))
    (writing / "README.md").write_text(model_card(model.config, tasks, results))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(writing, target)
    (run_dir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    mix_figure(mix, str(run_dir / "mix.png"))
    scores_figure(results, baseline, str(run_dir / "scores.png"))
    for name in ("results.json", "config.yaml", "mix.parquet", "mix.png", "scores.png"):
        tracker.log_artifact(str(run_dir / name))
    tracker.log_model(str(target), [task.name for task in tasks])
    return results


def totals(run_dir: Path, rows: pa.Table, rows_available: int) -> dict[str, Any]:
    """Counts and rates of a whole run.

    `fraction_of_data` is the distinct rows trained on over the rows available. `rows_per_second` counts
    rows trained over the seconds of training, evaluation and saving left out; `seconds` are those.
    """
    summaries = [read_summary(chunk) for chunk in chunks(run_dir)]

    def total(name: str) -> float:
        return float(sum(summary[name] for summary in summaries))

    distinct = pc.count_distinct(
        pc.binary_join_element_wise(rows["task"], rows["row_id"].cast(pa.string()), ":")
    )
    return {
        "steps": summaries[-1]["last_step"],
        "rows_scored": int(total("rows_scored")),
        "rows_trained": int(total("rows_trained")),
        "fraction_of_data": distinct.as_py() / rows_available,
        "seconds": total("seconds"),
        "rows_per_second": total("rows_trained") / total("seconds"),
        "data_wait_fraction": total("seconds_waited") / total("seconds"),
        "padding_fraction": 1 - total("tokens_real") / total("tokens_computed"),
    }
