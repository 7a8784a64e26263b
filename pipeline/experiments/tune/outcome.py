"""What a sweep leaves: the best configuration, a table of its trials, figures, and the same in MLflow."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import Settings
from pipeline.experiments.tune.figures import importance_figure, parallel_figure, pareto_figure
from pipeline.experiments.tune.log import FINISHED, SweepLog, pareto
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import Space, with_values
from pipeline.experiments.tune.trial import TRIALS
from pipeline.runs.directory import CONFIG
from pipeline.runs.records import list_chunks, read_summary
from pipeline.tracking.tracker import Tracker

BEST, TABLE, SUMMARY = "best.yaml", "trials.csv", "sweep.json"


def finish_sweep(
    folder: Path,
    settings: Settings,
    space: Space,
    wanted: SweepSettings,
    log: SweepLog,
    seconds: float,
    tracker: Tracker,
) -> dict[str, Any]:
    """Write all that a sweep leaves into its folder and into MLflow.

    Args:
        folder: of the sweep.
        settings: that every trial starts from.
        space: that was searched.
        wanted: how.
        log: of the trials.
        seconds: of the sweep, from its first trial to the last, all processes together.
        tracker: of the sweep's MLflow run.

    Returns:
        `trials`: as `trials.json` has them; `best`: id of the one of the highest average, or None; `pareto`: ids of
        those that no other one beats in all objectives; `seconds` of the sweep; `training_seconds`: of all
        trials together.
    """
    finished = log.finished()
    front = pareto(finished, wanted.objectives)
    outcome: dict[str, Any] = {
        "trials": [asdict(record) for record in log.trials.values()],
        "best": finished[0].id if finished else None,
        "pareto": [record.id for record in front],
        "seconds": seconds,
        "training_seconds": sum(training_seconds(folder / TRIALS / trial) for trial in log.trials),
    }
    (folder / SUMMARY).write_text(json.dumps(outcome, indent=1) + "\n")
    _write_table(folder / TABLE, space, log)
    written = [SUMMARY, TABLE]
    if finished:
        best = best_settings(settings, folder / TRIALS / finished[0].id)
        (folder / BEST).write_text(
            f"# The best of {len(log.trials)} trials: average {finished[0].average:.2f} (trial {finished[0].number})\n"
            + yaml.safe_dump(asdict(best), sort_keys=False)
        )
        written.append(BEST)
        records = [record for record in log.of_generation() if record.average is not None]
        if records:
            parallel_figure(space, records, folder / "parallel.png")
            written.append("parallel.png")
        ended = [record for record in records if record.status == FINISHED]
        if importance_figure(space, ended, folder / "importance.png"):
            written.append("importance.png")
        if len(wanted.objectives) > 1:
            pareto_figure(finished, front, wanted.objectives, folder / "pareto.png")
            written.append("pareto.png")
    for name in written:
        tracker.log_artifact(str(folder / name))
    return outcome


def training_seconds(run_dir: Path) -> float:
    """What a run has trained for as its records tell it, finished or not."""
    return float(sum(read_summary(chunk)["seconds"] for chunk in list_chunks(run_dir)))


def best_settings(settings: Settings, trial: Path) -> Settings:
    """Settings of the trial in this folder, as a run of its own beside the sweep."""
    stored = yaml.safe_load((trial / CONFIG).read_text())
    run = replace(settings.run, name=f"{settings.run.name}-best", resume=None, overwrite=False)
    values = {
        f"{section}.{name}": value
        for section, fields in stored.items()
        if section != "run"
        for name, value in fields.items()
    }
    return with_values(replace(settings, run=replace(run, seed=stored["run"]["seed"])), values)


def _write_table(path: Path, space: Space, log: SweepLog) -> None:
    names = [dimension.name for dimension in space]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["number", "id", "status", *names, "average", "step", "rows_trained", "parameters", "seconds"]
        )
        for record in log.trials.values():
            drawn = [record.drawn.get(name) for name in names]
            told = [record.average, record.step, record.rows_trained, record.parameters, record.seconds]
            writer.writerow([record.number, record.id, record.status, *drawn, *told])
