"""Task weights: the share of the next candidates that each task supplies, one function per policy.

Pure functions of numbers. T is the number of tasks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.sampling.epoch_bound import Floats, bound_epochs


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
