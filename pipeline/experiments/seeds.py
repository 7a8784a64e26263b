"""One configuration over several seeds: runs one after the other, in one folder, under one MLflow run."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline.config import Settings
from pipeline.experiments.compare.groups import SHOWN_ONLY, Group, Run
from pipeline.experiments.compare.report import write_report
from pipeline.experiments.compare.statistics import spread
from pipeline.experiments.compare.table import score_values
from pipeline.experiments.parent_run import check_parent, child, differences, open_parent
from pipeline.experiments.train import check, train
from pipeline.runs.mirror import RUN_ID
from pipeline.runs.results import RESULTS
from pipeline.tracking.texts import flatten
from pipeline.tracking.tracker import Tracker

# When a group is gone on with: places, and how patient it is.
MAY_CHANGE = ("run", "data.prepared_dir", "data.in_memory_bytes", "cluster.storage_path", *SHOWN_ONLY)


def train_seeds(settings: Settings, show: Callable[[str], None] = print) -> tuple[Group, list[str]]:
    """Train one configuration with each of `run.seeds`, or go on with such a group (`run.resume`).

    The runs are called `<name>-seed-<seed>` and lie in the folder `<name>`. Seeds that have results are not trained
    again, one that was interrupted goes on, and seeds may be added to a group that is gone on with.

    Args:
        settings: with absolute paths; `run.seed` is not used.
        show: takes lines for a person.

    Returns:
        The runs in the order of `run.seeds`, and the files that tell of them.

    Raises:
        ValueError: a user's mistake, in one line; nothing was trained.
    """
    run, seeds = settings.run, settings.run.seeds
    folder = check_parent(run, "group")
    if run.resume is not None and (changed := differences(folder, asdict(settings), MAY_CHANGE)):
        raise ValueError(
            f"run.resume: of the group, {'; '.join(changed)}: its seeds would not compare; "
            "start another group with --run.name"
        )
    runs = [_of_seed(settings, seed) for seed in seeds]
    if waiting := [one for one in runs if not _results(one).is_file()]:
        check(child(waiting[0]))
    parent = open_parent(run, asdict(settings), {"seeds": " ".join(map(str, seeds))})
    tracker, status = Tracker(run.tracking_uri, parent), "FAILED"
    try:
        for number, one in enumerate(runs, 1):
            done = "trained before" if _results(one).is_file() else f"{number} of {len(runs)}"
            show(f"seed {one.run.seed}: {done}")
            if not _results(one).is_file():
                train(child(one), show, tags={"mlflow.parentRunId": parent, "group": run.name})
        group = Group(run.name, [_read(one) for one in runs])
        written = write_report([group], [], str(folder))
        tracker.log_metrics(_spreads(group), step=len(group.runs))  # more seeds give newer means
        for path in written:
            tracker.log_artifact(path)
        status = "FINISHED"
        return group, written
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.finish(status)


def _of_seed(settings: Settings, seed: int) -> Settings:
    run = settings.run
    name, folder = f"{run.name}-seed-{seed}", str(Path(run.output_dir) / run.name)
    return replace(settings, run=replace(run, seed=seed, seeds=(), name=name, output_dir=folder, resume=None))


def _results(settings: Settings) -> Path:
    return Path(settings.run.output_dir) / settings.run.name / RESULTS


def _read(settings: Settings) -> Run:
    results: Mapping[str, Any] = json.loads(_results(settings).read_text())
    return Run(
        run_id=_results(settings).with_name(RUN_ID).read_text().strip(),
        name=settings.run.name,
        started=0,
        seed=settings.run.seed,
        settings=flatten(asdict(settings)),
        results=results,
    )


def _spreads(group: Group) -> dict[str, float]:
    """Mean and standard deviation of every score, as metrics."""
    told: dict[str, float] = {}
    for (task, metric), (by_seed,) in score_values([group]).items():
        name = f"{task}/{metric}".strip("/")
        middle, deviation = spread(list(by_seed.values()))
        told[f"mean/{name}"] = middle
        if deviation is not None:
            told[f"deviation/{name}"] = deviation
    return told
