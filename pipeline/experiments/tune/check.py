"""What a sweep is refused for, before anything is started."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Settings
from pipeline.data.checks import check_data
from pipeline.experiments.assembly import check_model, job_without_data, tasks_of
from pipeline.experiments.parent_run import differences
from pipeline.experiments.tune.search import OBJECTIVES
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import Space, grid_size, values_of, with_values

SAMPLES = 40  # draws that are held against each other before anything starts
MAY_CHANGE = {  # when a sweep is gone on with
    "cluster",
    *(f"run.{name}" for name in ("resume", "overwrite", "output_dir", "tracking_uri")),
    *(
        f"sweep.{name}"
        for name in ("max_hours", "max_trials", "max_concurrent_trials", "retries", "allow_changes")
    ),
}


def config_of(settings: Settings, wanted: SweepSettings) -> dict[str, Any]:
    """All that a sweep is told, as its `config.yaml` holds it."""
    return {**asdict(settings), "sweep": asdict(wanted)}


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
    if settings.run.seeds:
        raise ValueError("run.seeds: a trial has one seed: leave it out, or search over run.seed")
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


def changes(folder: Path, settings: Settings, wanted: SweepSettings) -> list[str]:
    """What has changed since the sweep in this folder was stored, in words; of what may change, nothing.

    Raises:
        ValueError: something changed without `sweep.allow_changes`.
    """
    found = differences(folder, config_of(settings, wanted), MAY_CHANGE)
    if found and not wanted.allow_changes:
        raise ValueError(
            f"run.resume: of the sweep, {'; '.join(found)}: its trials would not compare; start another sweep with "
            "--run.name, or say --sweep.allow_changes true"
        )
    return found
