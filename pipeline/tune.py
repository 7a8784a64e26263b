"""A sweep, as its driver sees it: a space of settings in, the best configuration and a comparison out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ray import tune
from ray.tune import ResumeConfig

from pipeline import cluster
from pipeline.assembly import check_model, job_without_data, prepare_data, tasks_of
from pipeline.config import Settings
from pipeline.data_check import check_data, check_writable
from pipeline.mirror import RUN_ID
from pipeline.run_directory import CONFIG, plain
from pipeline.sweep.follow import FollowTrials
from pipeline.sweep.log import FINISHED, SweepLog
from pipeline.sweep.outcome import finish_sweep
from pipeline.sweep.search import OBJECTIVES, make_scheduler, make_search, most_concurrent, replay, resources
from pipeline.sweep.settings import SweepSettings
from pipeline.sweep.space import Space, grid_size, is_grid, values_of, with_values
from pipeline.sweep.trial import Trial
from pipeline.tracking import Tracker
from pipeline.tracking_runs import check_tracking, continue_run, start_run
from pipeline.tracking_texts import redact

SAMPLES = 40  # draws that are held against each other before anything starts
EXPERIMENT = "tune"


def sweep(
    settings: Settings, wanted: SweepSettings, space: Space, show: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run a sweep, or go on with one (`run.resume`).

    Args:
        settings: of the run that every trial starts from; absolute paths. `run.name` is the sweep's.
        wanted: how to search.
        space: what is searched.
        show: takes lines for a person.

    Returns:
        What `sweep.json` holds: the trials, the best one, and where the time went.

    Raises:
        ValueError: a user's mistake, in one line; nothing was trained.
    """
    folder = Path(settings.run.output_dir) / settings.run.name
    _check_folder(settings, wanted, folder)
    check_sweep(settings, wanted, space)
    check_tracking(settings.run.tracking_uri)
    tasks = tasks_of(settings)
    cluster.connect(log_to_driver=False)  # trials tell what they do by their log and MLflow
    if settings.cluster.num_workers != 0:
        cluster.check_resources(settings.cluster.num_workers, settings.cluster.cpus_per_worker)
    concurrent = wanted.max_concurrent_trials or most_concurrent(settings.cluster)
    show(f"preparing {len(tasks)} tasks from {settings.data.source}")
    prepare_data(settings, tasks)
    parent = _open(settings, wanted, folder)
    tracker, log = Tracker(settings.run.tracking_uri, parent), SweepLog(folder)
    status = "FAILED"
    try:
        show(f"sweep of at most {wanted.max_trials} trials, {concurrent} at a time: {folder}")
        began = time.monotonic()
        _run(settings, wanted, space, folder, log, tracker, parent, concurrent, show)
        outcome = finish_sweep(
            folder, settings, space, wanted, log, log.seconds + time.monotonic() - began, tracker
        )
        status = "FINISHED" if log.count(FINISHED) else "FAILED"
        return outcome
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.finish(status)


def check_sweep(settings: Settings, wanted: SweepSettings, space: Space) -> None:
    """Refuse what could not end well, before anything is started.

    Raises:
        ValueError: names the setting.
    """
    for name in wanted.objectives:
        if name not in OBJECTIVES:
            raise ValueError(f"sweep.objectives: unknown objective {name!r}: use {', '.join(OBJECTIVES)}")
    if "average" not in wanted.objectives or len(set(wanted.objectives)) != len(wanted.objectives):
        raise ValueError("sweep.objectives: has to have average, and no objective twice")
    if len(wanted.objectives) > 1 and wanted.search != "optuna":
        raise ValueError("sweep.objectives: several need --sweep.search optuna")
    if "parameters" in wanted.objectives and wanted.early_stopping != "none":
        raise ValueError(
            "sweep.objectives: parameters are known of trials that end: set --sweep.early_stopping none"
        )
    if wanted.search == "optuna" and any(dimension.kind == "grid" for dimension in space):
        raise ValueError("sweep.search: optuna suggests points of its own: write choice in place of grid")
    if (points := grid_size(space)) > wanted.max_trials:
        raise ValueError(
            f"sweep.space: its grid has {points} points, more than sweep.max_trials {wanted.max_trials}: "
            "raise it, or search at random (choice in place of grid)"
        )
    if settings.train.evaluate == "asynchronous":
        raise ValueError("train.evaluate: its scores reach no sweep when they are asynchronous: use inline")
    if settings.train.max_steps is None:
        raise ValueError("train.epochs: trials are compared at steps: give train.max_steps")
    tasks = tasks_of(settings)
    chance = np.random.default_rng(0)
    draws = [{one.name: edge} for one in space for edge in one.edges()]
    whole = {one.name: one.edges()[0] for one in space}
    drawn = [{**whole, **draw} for draw in draws]
    edges = len(drawn)
    drawn += [{one.name: one.draw(chance) for one in space} for _ in range(SAMPLES)]
    for number, draw in enumerate(drawn):
        values = values_of(space, draw)
        try:
            job = job_without_data(with_values(settings, values), tasks)
            if number < edges:  # a model takes longer to check than all else
                check_model(job)
        except ValueError as error:
            told = ", ".join(f"{name} {value}" for name, value in values.items())
            raise ValueError(f"sweep.space: a trial could not start with {told}: {error}") from error
    check_model(job_without_data(settings, tasks))
    check_data(settings, tasks)


def _check_folder(settings: Settings, wanted: SweepSettings, folder: Path) -> None:
    if settings.run.resume is None:
        if folder.exists():
            raise ValueError(
                f"sweep {folder} exists: go on with it by --run.resume {folder}, or give another --run.name"
            )
        check_writable("run.output_dir", settings.run.output_dir)
        return
    if not (folder / RUN_ID).is_file():
        raise ValueError(f"run.resume: {folder} is no sweep (it has no {RUN_ID})")
    stored = yaml.safe_load((folder / CONFIG).read_text())
    now = _config(settings, wanted)
    for section in stored:
        for name, value in stored[section].items():
            if (section, name) not in MAY_CHANGE and section != "cluster" and value != now[section].get(name):
                raise ValueError(
                    f"run.resume: {section}.{name} of the sweep was {value}, is {now[section].get(name)}: "
                    "its trials would not compare; start another sweep with --run.name"
                )


MAY_CHANGE = {  # Ray Tune goes on with the number of trials that it was begun with
    *(("run", name) for name in ("resume", "overwrite", "output_dir", "tracking_uri")),
    *(("sweep", name) for name in ("max_hours", "max_concurrent_trials", "retries")),
}


def _config(settings: Settings, wanted: SweepSettings) -> dict[str, Any]:
    config: dict[str, Any] = plain({**asdict(settings), "sweep": asdict(wanted)})
    return yaml.safe_load(redact(yaml.safe_dump(config, sort_keys=False)))


def _open(settings: Settings, wanted: SweepSettings, folder: Path) -> str:
    """The sweep's folder and its MLflow run, new or continued."""
    run = settings.run
    if run.resume is not None:
        parent = (folder / RUN_ID).read_text().strip()
        continue_run(run.tracking_uri, parent)
        return parent
    config = _config(settings, wanted)
    tags = {"sweep": run.name, "run_dir": str(folder)}
    parent = start_run(run.tracking_uri, run.experiment, run.name, config, tags)
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / RUN_ID).write_text(parent + "\n")
    return parent


def _run(
    settings: Settings,
    wanted: SweepSettings,
    space: Space,
    folder: Path,
    log: SweepLog,
    tracker: Tracker,
    parent: str,
    concurrent: int,
    show: Callable[[str], None],
) -> None:
    search, config = make_search(space, wanted.search, wanted.objectives, settings.run.seed, concurrent)
    train = settings.train
    assert train.max_steps is not None
    grace = wanted.grace_steps or min(train.eval_every or train.max_steps, train.max_steps)
    scheduler = make_scheduler(wanted.early_stopping, grace, train.max_steps, wanted.reduction_factor)
    left = None if wanted.max_hours is None else max(1.0, 3600 * wanted.max_hours - log.seconds)
    base = replace(settings, run=replace(settings.run, resume=None))
    trial = Trial(base, space, parent)

    def run_trial(config: dict[str, Any]) -> None:
        trial(config)

    follow = FollowTrials(folder, log, tracker, show, partial(replay, scheduler))
    started = (folder / EXPERIMENT).is_dir()
    os.environ.setdefault(
        "TUNE_GLOBAL_CHECKPOINT_S", "1"
    )  # what is not stored is searched anew after a crash
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial is told in a line of ours
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own lines tell of the trials
    tune.run(
        tune.with_resources(run_trial, resources(settings.cluster)),
        name=EXPERIMENT,
        storage_path=str(folder),
        config=config,
        num_samples=_samples(space, wanted),
        search_alg=search,
        scheduler=scheduler,
        time_budget_s=left,
        max_failures=wanted.retries,
        raise_on_failed_trial=False,
        callbacks=[follow],
        resume_config=ResumeConfig() if started else None,
        resume=True if started else None,
        verbose=0,
    )
    follow.mark_ended()


def _samples(space: Space, wanted: SweepSettings) -> int:
    return 1 if is_grid(space) else max(1, wanted.max_trials // grid_size(space))
