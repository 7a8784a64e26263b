"""Which trial comes next (Optuna) and which one stops early (ASHA); both start from the records of earlier sessions."""

import math
from collections.abc import Iterable, Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any

import optuna
from optuna import distributions
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from pipeline.experiments.tune.records import FINISHED, RUNNING, STOPPED, TrialRecord
from pipeline.experiments.tune.space import Dimension, Space

MINIMIZED = ("rows_trained", "parameters")
OBJECTIVES = ("average", *MINIMIZED)


def optuna_space(space: Space) -> dict[str, distributions.BaseDistribution]:
    """Returns the space as Optuna's distributions, {dimension: distribution}."""
    return {one.name: _distribution(one) for one in space}


def _distribution(one: Dimension) -> distributions.BaseDistribution:
    if one.options is not None:
        return distributions.CategoricalDistribution(list(one.options))
    if one.kind == "randint":
        return distributions.IntDistribution(int(one.low), int(one.high) - 1)
    return distributions.FloatDistribution(one.low, one.high, log=one.kind == "loguniform")


def make_study(
    space: Space,
    records: Iterable[TrialRecord],
    objectives: Sequence[str] = ("average",),
    sampler: optuna.samplers.BaseSampler | None = None,
) -> optuna.Study:
    """Returns a study in memory with the records that have every objective; `id` is an attribute of each."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranges = optuna_space(space)
    directions = [
        StudyDirection.MINIMIZE if name in MINIMIZED else StudyDirection.MAXIMIZE for name in objectives
    ]
    study = optuna.create_study(directions=directions, sampler=sampler)
    for record in records:
        values = [getattr(record, name) for name in objectives]
        params = {name: record.drawn[name] for name in ranges}
        if not any(value is None or math.isnan(value) for value in values):
            trial = create_trial(
                params=params, distributions=ranges, values=values, user_attrs={"id": record.id}
            )
            study.add_trial(trial)
    return study


def make_sampler(search: str, seed: int) -> optuna.samplers.BaseSampler:
    """Returns Optuna's sampler of a `sweep.search`."""
    if search == "random":
        return optuna.samplers.RandomSampler(seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True)


def new_points(space: Space, records: Sequence[TrialRecord], room: int) -> list[dict[str, Any]]:
    """Returns the grid values of each trial that is still to be added; they are empty without a grid.

    Args:
        space: A grid alone is tried once. With other dimensions beside it, only complete passes are added.
        records: Trials of this space so far.
        room: Most trials that may be added to a space that is more than a grid.
    """
    axes = {dimension.name: dimension.edges() for dimension in space if dimension.kind == "grid"}
    # The first dimension changes fastest.
    grid = [dict(zip(axes, point[::-1], strict=True)) for point in product(*list(axes.values())[::-1])]
    passes = 1 if len(axes) == len(space) else (len(records) + max(0, room)) // len(grid)
    points = grid * passes
    for record in records:
        if (point := {name: record.drawn[name] for name in axes}) in points:
            points.remove(point)
    return points


class SweepSearch(Searcher):
    """Suggests the trials that an earlier session left unfinished, then new ones, as {"id", "drawn"}."""

    def __init__(
        self,
        space: Space,
        records: Sequence[TrialRecord],
        points: Sequence[dict[str, Any]],
        objectives: Sequence[str],
        sampler: optuna.samplers.BaseSampler,
        scheduler: TrialScheduler,
    ) -> None:
        """Takes the records of this space and the grid values of new trials; `scheduler` receives past results."""
        super().__init__()
        self._distributions, self._objectives, self._scheduler = optuna_space(space), objectives, scheduler
        self._unfinished = [record for record in records if record.status == RUNNING]
        for record in records:
            if record.status != RUNNING:
                replay(scheduler, record.id, record)
        scored = [record for record in records if record.status in (FINISHED, STOPPED)]
        self._study = make_study(space, scored, objectives, sampler)
        for fixed in (*(record.drawn for record in self._unfinished), *points):
            self._study.enqueue_trial(fixed)  # the sampler draws the dimensions that are not fixed
        self.num_trials = len(self._unfinished) + len(points)
        self._asked: dict[str, optuna.Trial] = {}

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Returns the configuration of the trial that Ray Tune calls `trial_id`."""
        trial = self._asked[trial_id] = self._study.ask(self._distributions)
        name = trial_id
        if self._unfinished:
            record = self._unfinished.pop(0)
            replay(self._scheduler, trial_id, record)
            name = record.id
        return {"id": name, "drawn": trial.params}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Passes the last result of a trial to the study, of a stopped one too."""
        complete = result and all(name in result for name in self._objectives)
        values = [result[name] for name in self._objectives] if result and complete else None
        self._study.tell(self._asked.pop(trial_id), values, None if values else TrialState.FAIL)


def make_scheduler(
    early_stopping: str, grace_steps: int, max_steps: int, reduction_factor: int
) -> TrialScheduler:
    """Returns ASHA on the average over steps (Li et al. 2020, arXiv 1810.05934), or a scheduler that stops nothing."""
    if early_stopping == "none":
        return FIFOScheduler()
    return AsyncHyperBandScheduler(
        time_attr="step",
        metric="average",
        mode="max",
        grace_period=grace_steps,
        max_t=max_steps + 1,  # a trial ends by itself, after it has written its results
        reduction_factor=reduction_factor,
    )


def replay(scheduler: TrialScheduler, trial_id: str, record: TrialRecord) -> None:
    """Passes a record's results to a new scheduler: Ray Tune does not store the rungs of ASHA."""
    trial: Any = SimpleNamespace(trial_id=trial_id)  # ASHA reads no other attribute
    controller: Any = None
    scheduler.on_trial_add(controller, trial)
    for step, average, _ in record.history:
        scheduler.on_trial_result(controller, trial, {"step": step, "average": average})
