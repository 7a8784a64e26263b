"""The sampler's state between steps, and how measured uncertainties update it.

Pure functions of numbers. T is the number of tasks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.sampling.epoch_bound import Floats


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
