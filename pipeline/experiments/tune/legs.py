"""Ray Tune's part of a sweep. It goes on only with the very search that it began, so a sweep may have several legs.

A leg is one experiment of Ray Tune, in a folder of its own. A sweep whose driver was lost goes on with its newest one;
another leg begins where trials were added (`sweep.max_trials` raised) or the settings have changed.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import ResumeConfig

from pipeline.experiments.tune.follow import FollowTrials
from pipeline.experiments.tune.search import make_scheduler, make_search, replay, resources
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import Space, grid_size, is_grid
from pipeline.experiments.tune.trial import Trial

LEG = "tune-{}"


def run_legs(
    folder: Path,
    trial: Trial,
    wanted: SweepSettings,
    follow: FollowTrials,
    concurrent: int,
    *,
    changed: bool,
) -> None:
    """Run trials until there are as many as wanted, the grid is through, or the time is up.

    Args:
        folder: of the sweep.
        trial: what is run, with the space.
        wanted: how to search, and how much.
        follow: knows the trials that there are.
        concurrent: trials at a time.
        changed: the space or the settings are others than those of the newest leg.
    """
    number = len(list(folder.glob(LEG.format("*"))))
    untried = changed or not number
    if changed:
        follow.log.generation += 1
        follow.stop_running()
    if not untried:
        _run_leg(folder, number, trial, wanted, follow, concurrent)
    while samples := _samples(trial.space, wanted.max_trials - len(follow.log.trials), untried=untried):
        known, number, untried = len(follow.log.trials), number + 1, False
        _run_leg(folder, number, trial, wanted, follow, concurrent, samples=samples)
        if len(follow.log.trials) == known:  # the time is up, or the search has no more to try
            break
    follow.stop_running()
    follow.mark_ended()


def _samples(space: Space, trials: int, *, untried: bool) -> int:
    """How often the grid is still to be gone through, once for all where there is nothing else."""
    return int(untried) if is_grid(space) else max(0, trials) // grid_size(space)


def _run_leg(
    folder: Path,
    number: int,
    trial: Trial,
    wanted: SweepSettings,
    follow: FollowTrials,
    concurrent: int,
    samples: int = 1,
) -> None:
    """Run a leg, or go on with it where it has begun: then with the samples that it began with."""
    train, seed = trial.base.train, trial.base.run.seed + number - 1
    left = None if wanted.max_hours is None else 3600 * wanted.max_hours - follow.seconds
    if left is not None and left <= 0:
        return
    search, config = make_search(trial.space, wanted.search, wanted.objectives, seed, concurrent)
    assert train.max_steps is not None
    grace = wanted.grace_steps or min(train.eval_every or train.max_steps, train.max_steps)
    scheduler = make_scheduler(wanted.early_stopping, grace, train.max_steps, wanted.reduction_factor)
    for record in follow.log.of_generation():
        replay(scheduler, record)

    def run_trial(config: dict[str, Any]) -> None:
        trial(config)

    os.environ.setdefault(
        "TUNE_GLOBAL_CHECKPOINT_S", "1"
    )  # what is not stored is searched anew after a crash
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own lines tell of the trials
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial is told in a line of ours
    begun = (folder / LEG.format(number)).is_dir()
    tune.run(
        tune.with_resources(run_trial, resources(trial.base.cluster)),
        name=LEG.format(number),
        storage_path=str(folder),
        config=config,
        num_samples=samples,
        search_alg=search,
        scheduler=scheduler,
        time_budget_s=left,
        max_failures=wanted.retries,
        raise_on_failed_trial=False,
        callbacks=[follow],
        resume_config=ResumeConfig() if begun else None,
        resume=True if begun else None,
        verbose=0,
    )
