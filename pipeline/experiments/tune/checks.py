"""Checks of a sweep before anything starts."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config import Settings, with_values
from pipeline.data.checks import check_data
from pipeline.experiments.assembly import build_job, check_model, select_tasks
from pipeline.experiments.parent_run import changed_settings
from pipeline.experiments.tune.search import OBJECTIVES, make_sampler, make_study, optuna_space
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import Space, edge_draws, grid_size, values_of

SAMPLES = 40  # draws that are checked for settings that contradict each other
LIMITS = ("max_hours", "max_trials", "max_concurrent_trials", "retries", "allow_changes")
MAY_CHANGE = {  # when a sweep is resumed
    "cluster",
    *(f"run.{name}" for name in ("resume", "overwrite", "output_dir", "tracking_uri")),
    *(f"sweep.{name}" for name in LIMITS),
}


def config_of(settings: Settings, wanted: SweepSettings) -> dict[str, Any]:
    """Returns all settings of a sweep, as its `config.yaml` has them."""
    return {**asdict(settings), "sweep": asdict(wanted)}


def check_sweep(settings: Settings, wanted: SweepSettings, space: Space) -> None:
    """Checks that the sweep and every option of its space can be trained.

    Raises:
        ValueError: Names the setting and the remedy.
    """
    if mistake := _mistake(settings, wanted, space):
        raise ValueError(mistake)
    _check_draws(settings, space)
    check_data(settings, select_tasks(settings))


def _mistake(settings: Settings, wanted: SweepSettings, space: Space) -> str:
    """Returns what contradicts in the settings, or an empty text."""
    objectives, optuna = wanted.objectives, wanted.search == "optuna"
    if unknown := [name for name in objectives if name not in OBJECTIVES]:
        return f"sweep.objectives: unknown objective {unknown[0]!r}: use {', '.join(OBJECTIVES)}"
    if "average" not in objectives or len(set(objectives)) != len(objectives):
        return "sweep.objectives: list average, and each objective once"
    if len(objectives) > 1 and not optuna:
        return "sweep.objectives: several objectives need --sweep.search optuna"
    if "parameters" in objectives and wanted.early_stopping != "none":
        return "sweep.objectives: parameters are counted at a trial's end: set --sweep.early_stopping none"
    if optuna and any(dimension.kind == "grid" for dimension in space):
        return "sweep.search: optuna suggests points of its own: use choice instead of grid"
    if (points := grid_size(space)) > wanted.max_trials:
        limit = f"sweep.max_trials {wanted.max_trials}"
        return f"sweep.space: its grid has {points} points, more than {limit}: raise it, or use choice instead of grid"
    if settings.run.seeds:
        return "run.seeds: a trial has one seed: remove run.seeds, or search over run.seed"
    if settings.train.evaluate == "asynchronous":
        return "train.evaluate: asynchronous scores do not reach a sweep: use inline"
    if settings.train.max_steps is None:
        return "train.epochs: trials are compared at steps: set train.max_steps instead"
    return ""


def _check_draws(settings: Settings, space: Space) -> None:
    """Builds the job of the base, of every edge of every dimension and of some draws."""
    tasks = select_tasks(settings)
    edges = edge_draws(space)
    study, distributions = make_study(space, [], sampler=make_sampler("random", 0)), optuna_space(space)
    draws = [study.ask(distributions).params for _ in range(SAMPLES)]
    for number, drawn in enumerate(edges + draws):
        values = values_of(space, drawn)
        try:
            job = build_job(with_values(settings, values), tasks)
            if number < len(edges):  # a model takes longer to check than all else
                check_model(job)
        except ValueError as error:
            listed = ", ".join(f"{name} {value}" for name, value in values.items())
            raise ValueError(f"sweep.space: a trial could not start with {listed}: {error}") from error
    check_model(build_job(settings, tasks))


def check_changes(folder: Path, settings: Settings, wanted: SweepSettings) -> list[str]:
    """Returns what differs from the settings of the sweep in this folder, a line each, except what may change.

    Raises:
        ValueError: Something changed without `sweep.allow_changes`.
    """
    changes = changed_settings(folder, config_of(settings, wanted), MAY_CHANGE)
    if changes and not wanted.allow_changes:
        raise ValueError(
            f"run.resume: of the sweep, {'; '.join(changes)}: its trials would not compare; start another sweep with "
            "--run.name, or set --sweep.allow_changes true"
        )
    return changes
