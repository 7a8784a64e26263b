"""The results of a sweep: the best configuration, a table of its trials and figures, on disk and in MLflow."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pipeline.config import RunSettings
from pipeline.experiments.tune.figures import importance_figure, parallel_figure, pareto_figure
from pipeline.experiments.tune.monitor import SweepMonitor
from pipeline.experiments.tune.records import FINISHED
from pipeline.experiments.tune.search import make_study
from pipeline.experiments.tune.space import Space
from pipeline.experiments.tune.trial import TRIALS
from pipeline.runs.directory import CONFIG
from pipeline.runs.records import list_chunks, read_summary


def write_sweep_report(
    run: RunSettings, space: Space, objectives: Sequence[str], monitor: SweepMonitor
) -> dict[str, Any]:
    """Writes the results of a sweep to its folder and to its MLflow run.

    Returns:
        The content of `sweep.json`: `trials`, as in `trials.json`; `best`, id of the trial of the highest average, or
        None; `pareto`, ids of the trials that no other one dominates in all objectives; `seconds` of the sweep;
        `training_seconds` of all trials.
    """
    log, folder = monitor.log, monitor.folder
    finished = log.with_status(FINISHED)
    pareto = [trial.user_attrs["id"] for trial in make_study((), finished, objectives).best_trials]
    chunks = [chunk for trial in log.trials for chunk in list_chunks(folder / TRIALS / trial)]
    outcome: dict[str, Any] = {
        "trials": [asdict(record) for record in log.trials.values()],
        "best": finished[0].id if finished else None,
        "pareto": pareto,
        "seconds": monitor.seconds,
        "training_seconds": float(sum(read_summary(chunk)["seconds"] for chunk in chunks)),
    }
    (folder / "sweep.json").write_text(json.dumps(outcome, indent=1) + "\n")
    columns = [one.name for one in space] + ["average", "step", "rows_trained", "parameters", "seconds"]
    rows = [{**record.drawn, **vars(record), "step": record.step} for record in log.trials.values()]
    table = pd.DataFrame(rows, columns=["number", "id", "status", *columns], dtype=object)
    table.to_csv(folder / "trials.csv", index=False)
    written = ["sweep.json", "trials.csv"]
    if finished:
        best = finished[0]
        title = f"# The best of {len(rows)} trials: average {best.average:.2f} (trial {best.number})\n"
        config = yaml.safe_dump(_best_config(run, folder / TRIALS / best.id), sort_keys=False)
        (folder / "best.yaml").write_text(title + config)
        written.append("best.yaml")
        scored = [record for record in log.latest_generation() if record.average is not None]
        if scored:
            parallel_figure(space, scored, folder / "parallel.png")
            written.append("parallel.png")
        if importance_figure(space, scored, folder / "importance.png"):
            written.append("importance.png")
        if len(objectives) > 1:
            pareto_figure(finished, pareto, objectives, folder / "pareto.png")
            written.append("pareto.png")
    for name in written:
        monitor.tracker.log_artifact(str(folder / name))
    return outcome


def _best_config(run: RunSettings, trial: Path) -> dict[str, Any]:
    """Returns the settings of the trial in this folder as those of a run of its own beside the sweep."""
    config: dict[str, Any] = yaml.safe_load((trial / CONFIG).read_text())
    best = replace(run, name=f"{run.name}-best", seed=config["run"]["seed"], resume=None, overwrite=False)
    return {**config, "run": asdict(best)}
