"""Task weights: the share of the next candidates that each task supplies, one function per policy.

The paper's MT-Uncertainty (§2.5, Algorithm 1) draws equally from every task: `uniform`. The other policies weigh
tasks before the selection (`pipeline.training.selection`). T is the number of tasks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.sampling.arrays import Floats
from pipeline.sampling.epoch_bound import bound_epochs


@dataclass(frozen=True, kw_only=True)
class PolicyOptions:
    """Settings of the policies.

    Attributes:
        temperature: tau of `temperature`; 1 is `size`, larger values approach `uniform`.
        floor: smallest share of any task under `uncertainty`.
        max_epochs: most passes over a task's rows in a run, under any policy; None sets no bound.
        factors: number of tasks that each task counts as, under any policy, [T]; None is one each.
    """

    temperature: float = 2.0
    floor: float = 0.02
    max_epochs: float | None = None
    factors: tuple[float, ...] | None = None


def weigh_by_uncertainty(sizes: Floats, uncertainty: Floats, options: PolicyOptions) -> Floats:
    """Proportional to the smoothed mean uncertainty, above a floor so that no task starves.

    A task without a measurement (NaN) gets the mean of the measured tasks.
    """
    measured = uncertainty[~np.isnan(uncertainty)]
    weights = np.where(np.isnan(uncertainty), measured.mean() if len(measured) else 1.0, uncertainty)
    if weights.sum() == 0:
        return np.ones_like(sizes)
    floor = min(options.floor, 1.0 / len(sizes))
    return floor + (1.0 - floor * len(sizes)) * weights / weights.sum()


# (training rows [T], mean uncertainty [T], options) -> weights [T], not yet normalised
Policy = Callable[[Floats, Floats, PolicyOptions], Floats]
POLICIES: dict[str, Policy] = {
    "uniform": lambda sizes, uncertainty, options: np.ones_like(sizes),  # Algorithm 1
    "size": lambda sizes, uncertainty, options: sizes,
    # Arivazhagan et al. 2019
    "temperature": lambda sizes, uncertainty, options: (sizes / sizes.max()) ** (1.0 / options.temperature),
    "uncertainty": weigh_by_uncertainty,
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
    """Computes each task's share of the candidates of a round.

    Args:
        policy: a name in `POLICIES`.
        tasks: names, [T].
        sizes: training rows of each task, [T].
        mean_uncertainty: smoothed mean uncertainty of each task, NaN if unknown, [T].
        options: settings of the policies.
        drawn: rows drawn from each task before the round, over all epochs, [T].
        rows_left: rows that the run draws from this round on.

    Returns:
        [T], summing to 1; 0 only for a task that is at its bound or, without a floor, certain.

    Raises:
        ValueError: unknown policy, task without rows, or a weight that is negative or not finite.
    """
    if policy not in POLICIES:
        raise ValueError(f"sampler policy {policy!r} is not known: use one of {', '.join(POLICIES)}")
    rows = np.asarray(sizes, dtype=np.float64)
    if (rows < 1).any():
        raise ValueError(f"task {tasks[int(np.argmin(rows))]!r} has no training rows")
    means = np.asarray(mean_uncertainty, dtype=np.float64)
    _check_finite("uncertainty", np.where(np.isnan(means), 0.0, means), tasks)
    weights = POLICIES[policy](rows, means, options)
    _check_finite(f"weight under sampler policy {policy!r}", weights, tasks)
    if options.factors is not None:
        weights = weights * np.asarray(options.factors)
    weights = weights / weights.sum()
    if options.max_epochs is None:
        return weights
    return bound_epochs(weights, rows, np.asarray(drawn, dtype=np.float64), rows_left, options.max_epochs)


def _check_finite(quantity: str, values: Floats, tasks: Sequence[str]) -> None:
    wrong = np.flatnonzero(~np.isfinite(values) | (values < 0))
    if len(wrong):
        named = ", ".join(f"{tasks[index]!r} {values[index]}" for index in wrong.tolist())
        raise ValueError(f"the {quantity} of a task must be finite and at least 0, but is for {named}")
