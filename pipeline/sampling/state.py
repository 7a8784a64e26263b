"""The sampler's state between steps, and how measured uncertainties update it. T is the number of tasks.

A task's uncertainty is the mean normalised entropy of its candidates (paper §2.5, Algorithm 1). Departure from the
paper: here the mean is smoothed over steps and may weigh the tasks of later rounds (policy `uncertainty`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.sampling.arrays import Floats

COLUMNS = ("cursors", "planned_from", "plan_next_from", "uncertainty")  # [T] each


@dataclass(frozen=True, kw_only=True)
class SamplerState:
    """The sampler's part of a checkpoint: the plans of the current and of the next round follow from it.

    The next round is planned when the current one starts, so its plan uses the uncertainties of that moment.

    Attributes:
        step: optimiser steps done.
        round_start: steps done when the current round began.
        cursors: rows drawn from each task before the current round, over all epochs, [T].
        planned_from: uncertainties that the current round was planned from, [T].
        plan_next_from: uncertainties at the start of the current round; the next is planned from them, [T].
        uncertainty: smoothed mean uncertainty now, NaN for a task never measured, [T].
    """

    step: int
    round_start: int
    cursors: tuple[int, ...]
    planned_from: tuple[float, ...]
    plan_next_from: tuple[float, ...]
    uncertainty: tuple[float, ...]

    @staticmethod
    def initial(num_tasks: int) -> "SamplerState":
        """The state before the first step: nothing drawn, nothing measured."""
        unknown = (math.nan,) * num_tasks
        columns = {"planned_from": unknown, "plan_next_from": unknown, "uncertainty": unknown}
        return SamplerState(step=0, round_start=0, cursors=(0,) * num_tasks, **columns)

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists for JSON; NaN becomes null."""
        fields = asdict(self)
        for name in COLUMNS:
            fields[name] = [None if math.isnan(number) else number for number in fields[name]]
        return fields

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> "SamplerState":
        """The inverse of `to_dict`."""
        columns: dict[str, Any] = dict(fields)
        for name in COLUMNS:
            columns[name] = tuple(math.nan if number is None else number for number in columns[name])
        return SamplerState(**columns)


def observe(state: SamplerState, means: Floats, smoothing: float) -> SamplerState:
    """Returns the state after a step.

    Args:
        state: the state before the step.
        means: mean uncertainty of each task's candidates over all ranks, NaN for a task without any, [T].
        smoothing: weight of the old mean.
    """
    old = np.asarray(state.uncertainty)
    smoothed = np.where(np.isnan(old), means, smoothing * old + (1 - smoothing) * means)
    uncertainty = np.where(np.isnan(means), old, smoothed)
    return replace(state, step=state.step + 1, uncertainty=tuple(uncertainty.tolist()))


def next_round(state: SamplerState, drawn: Sequence[int]) -> SamplerState:
    """Returns the state at the start of the next round; `drawn` [T] are the rows of the round that ended."""
    return replace(
        state,
        round_start=state.step,
        cursors=tuple(before + new for before, new in zip(state.cursors, drawn, strict=True)),
        planned_from=state.plan_next_from,
        plan_next_from=state.uncertainty,
    )


def mean_uncertainties(
    sums: Floats, candidates: Floats, tasks: Sequence[str], copy_from: Mapping[int, int | None]
) -> Floats:
    """Computes each task's mean uncertainty in a step, [T]; NaN for a task without candidates.

    Args:
        sums: summed uncertainties over all ranks, [T].
        candidates: number of summands, [T].
        tasks: names, [T].
        copy_from: {task without an entropy: the task whose mean it takes}; without one it takes the mean of the
            tasks with an entropy. The published code copies MRPC's scores to STS-B.

    Raises:
        ValueError: a sum is not finite, because the model's predictions are not.
    """
    diverged = [tasks[index] for index in np.flatnonzero(~np.isfinite(sums)).tolist()]
    if diverged:
        raise ValueError(
            f"the predictions for task {', '.join(map(repr, diverged))} are not finite: the training diverged; "
            "lower train.learning_rate, or use --train.precision fp32"
        )
    means = np.where(candidates > 0, sums / np.maximum(candidates, 1), np.nan)
    measured = [task for task in range(len(means)) if task not in copy_from and np.isfinite(means[task])]
    rest = float(means[measured].mean()) if measured else math.nan
    filled = means.copy()
    for target, source in copy_from.items():
        if np.isfinite(means[target]):
            filled[target] = rest if source is None or np.isnan(means[source]) else means[source]
    return filled
