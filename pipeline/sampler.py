"""Which tasks the next candidates come from: policies, and the state they are computed from.

Everything here is a pure function of numbers. T is the number of tasks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.epoch_bound import Floats, bound_epochs


@dataclass(frozen=True, kw_only=True)
class PolicyOptions:
    """What a policy may need beside the tasks' sizes and uncertainties.

    Attributes:
        temperature: tau of `temperature`; 1 is `size`, larger is nearer to `uniform`.
        floor: smallest share of any task under `uncertainty`.
        max_epochs: most passes over a task's rows in a run, under any policy; None sets no bound.
        factors: as how many tasks each counts, under any policy, [T]; None is one each.
    """

    temperature: float = 2.0
    floor: float = 0.02
    max_epochs: float | None = None
    factors: tuple[float, ...] | None = None


def uniform(sizes: Floats, uncertainty: Floats, options: PolicyOptions) -> Floats:
    """Every task alike."""
    return np.ones_like(sizes)


def size(sizes: Floats, uncertainty: Floats, options: PolicyOptions) -> Floats:
    """In proportion to the rows a task has."""
    return sizes


def temperature(sizes: Floats, uncertainty: Floats, options: PolicyOptions) -> Floats:
    """Rows ** (1 / tau) (Arivazhagan et al. 2019)."""
    return (sizes / sizes.max()) ** (1.0 / options.temperature)


def uncertainty(sizes: Floats, uncertainty: Floats, options: PolicyOptions) -> Floats:
    """In proportion to the smoothed mean uncertainty, above a floor so that no task starves.

    A task that was not measured yet (NaN) counts as the mean of those that were.
    """
    known = uncertainty[~np.isnan(uncertainty)]
    weights = np.where(np.isnan(uncertainty), known.mean() if len(known) else 1.0, uncertainty)
    if weights.sum() == 0:
        return np.ones_like(sizes)
    floor = min(options.floor, 1.0 / len(sizes))
    return floor + (1.0 - floor * len(sizes)) * weights / weights.sum()


Policy = Callable[[Floats, Floats, PolicyOptions], Floats]
POLICIES: dict[str, Policy] = {
    "uniform": uniform,
    "size": size,
    "temperature": temperature,
    "uncertainty": uncertainty,
}


def task_weights(
    policy: str,
    tasks: Sequence[str],
    sizes: Sequence[int],
    mean_uncertainty: Sequence[float],
    options: PolicyOptions,
    *,
    drawn: Sequence[int],
    rows_left: int,
) -> Floats:
    """Shares of the tasks among the candidates of a round.

    Args:
        policy: a name in `POLICIES`.
        tasks: names, [T].
        sizes: training rows of each task, [T].
        mean_uncertainty: smoothed mean uncertainty of each task, NaN where unknown, [T].
        options: the policies' settings.
        drawn: rows drawn from each task before the round, over all epochs, [T].
        rows_left: rows to be drawn from the round's start to the end of the run.

    Returns:
        [T], summing to 1; 0 only for a task that is at its bound or, without a floor, certain.

    Raises:
        ValueError: an unknown policy, a task without rows, or a weight that is no share.
    """
    if policy not in POLICIES:
        raise ValueError(f"sampler policy {policy!r} is not known: use one of {', '.join(POLICIES)}")
    rows = np.asarray(sizes, dtype=np.float64)
    if (rows < 1).any():
        raise ValueError(f"task {tasks[int(np.argmin(rows))]!r} has no training rows")
    known = np.asarray(mean_uncertainty, dtype=np.float64)
    _check_shares("uncertainty", np.where(np.isnan(known), 0.0, known), tasks)
    weights = POLICIES[policy](rows, known, options)
    _check_shares(f"weight under sampler policy {policy!r}", weights, tasks)
    if options.factors is not None:
        weights = weights * np.asarray(options.factors)
    weights = weights / weights.sum()
    if options.max_epochs is None:
        return weights
    return bound_epochs(weights, rows, np.asarray(drawn, dtype=np.float64), rows_left, options.max_epochs)


def _check_shares(what: str, values: Floats, tasks: Sequence[str]) -> None:
    wrong = np.flatnonzero(~np.isfinite(values) | (values < 0))
    if len(wrong):
        given = ", ".join(f"{tasks[int(place)]!r} {values[place]}" for place in wrong)
        raise ValueError(f"the {what} of a task has to be finite and 0 or more, and is for {given}")


@dataclass(frozen=True, kw_only=True)
class SamplerState:
    """Where the sampler stands. A checkpoint holds it; both plans in flight follow from it.

    Attributes:
        step: optimiser steps done.
        round_start: steps done when the current round began.
        cursors: rows drawn from each task before the current round, over all epochs, [T].
        planned_from: uncertainties that the current round was planned from, [T].
        plan_next_from: uncertainties at the current round's start; the next is planned from them, [T].
        uncertainty: smoothed mean uncertainty now, NaN where a task was never measured, [T].
    """

    step: int
    round_start: int
    cursors: tuple[int, ...]
    planned_from: tuple[float, ...]
    plan_next_from: tuple[float, ...]
    uncertainty: tuple[float, ...]

    @staticmethod
    def initial(num_tasks: int) -> "SamplerState":
        """Before the first step: nothing drawn, nothing measured."""
        unknown = (float("nan"),) * num_tasks
        return SamplerState(
            step=0,
            round_start=0,
            cursors=(0,) * num_tasks,
            planned_from=unknown,
            plan_next_from=unknown,
            uncertainty=unknown,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON (NaN as null)."""
        fields = asdict(self)
        for name in ("planned_from", "plan_next_from", "uncertainty"):
            fields[name] = [None if math.isnan(value) else value for value in fields[name]]
        return {**fields, "cursors": list(self.cursors)}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> "SamplerState":
        """The inverse of `to_dict`."""

        def numbers(name: str) -> tuple[float, ...]:
            return tuple(math.nan if value is None else value for value in fields[name])

        return SamplerState(
            step=fields["step"],
            round_start=fields["round_start"],
            cursors=tuple(fields["cursors"]),
            planned_from=numbers("planned_from"),
            plan_next_from=numbers("plan_next_from"),
            uncertainty=numbers("uncertainty"),
        )


def observe(state: SamplerState, means: Floats, smoothing: float) -> SamplerState:
    """The state after a step.

    Args:
        state: before the step.
        means: mean uncertainty of each task's candidates over all workers, NaN where it had none, [T].
        smoothing: share of the old mean that is kept.
    """
    old = np.asarray(state.uncertainty)
    smoothed = np.where(np.isnan(old), means, smoothing * old + (1 - smoothing) * means)
    uncertainty = np.where(np.isnan(means), old, smoothed)
    return replace(state, step=state.step + 1, uncertainty=tuple(uncertainty.tolist()))


def mean_uncertainties(summed: Floats, candidates: Floats, tasks: Sequence[str]) -> Floats:
    """Mean uncertainty of each task's candidates of a step over all workers, NaN where it had none.

    Args:
        summed: uncertainties added up, [T].
        candidates: how many were added, [T].
        tasks: names, [T].

    Returns:
        [T].

    Raises:
        ValueError: a sum is not finite, for the model's predictions are not.
    """
    wrong = [tasks[int(place)] for place in np.flatnonzero(~np.isfinite(summed))]
    if wrong:
        raise ValueError(
            f"the predictions for task {', '.join(map(repr, wrong))} are not finite: the training diverged; "
            "lower train.learning_rate, or use --train.precision fp32"
        )
    return np.where(candidates > 0, summed / np.maximum(candidates, 1), np.nan)


def fill_copied(means: Floats, copy_from: Mapping[int, int | None]) -> Floats:
    """Mean uncertainties [T] in which a task without an entropy has its source's, or the others' mean."""
    filled = means.copy()
    own = [task for task in range(len(means)) if task not in copy_from and np.isfinite(means[task])]
    rest = float(means[own].mean()) if own else float("nan")
    for target, source in copy_from.items():
        if np.isfinite(means[target]):
            known = source is not None and np.isfinite(means[source])
            filled[target] = means[source] if known else rest
    return filled


def next_round(state: SamplerState, drawn: Sequence[int]) -> SamplerState:
    """The state at the start of the next round, when `drawn` rows of each task were consumed, [T]."""
    return replace(
        state,
        round_start=state.step,
        cursors=tuple(int(old + new) for old, new in zip(state.cursors, drawn, strict=True)),
        planned_from=state.plan_next_from,
        plan_next_from=state.uncertainty,
    )
