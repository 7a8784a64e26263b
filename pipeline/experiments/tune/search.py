"""How trials are chosen, stopped and placed: Ray Tune's parts, put together from plain arguments."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter, SearchAlgorithm, Searcher
from ray.tune.search.optuna import OptunaSearch

from pipeline.cluster.connection import RAY_DATA_CPUS, wants_gpu
from pipeline.config import ClusterSettings
from pipeline.experiments.tune.log import TrialRecord
from pipeline.experiments.tune.space import Space

OBJECTIVES = {"average": "max", "rows_trained": "min", "parameters": "min"}
DRIVER_BYTES = 2**30  # of the process that drives a trial's workers: torch, Ray and MLflow


def tune_space(space: Space) -> dict[str, Any]:
    """The space as Ray Tune draws it at random."""
    kinds: dict[str, Any] = {
        "uniform": tune.uniform,
        "loguniform": tune.loguniform,
        "randint": tune.randint,
        "choice": tune.choice,
        "grid": tune.grid_search,
    }
    return {
        dimension.name: kinds[dimension.kind](list(dimension.options))
        if dimension.options is not None
        else kinds[dimension.kind](dimension.low, dimension.high)
        for dimension in space
    }


def optuna_space(space: Space) -> dict[str, Any]:
    """The space as Optuna suggests from it."""
    found: dict[str, Any] = {}
    for dimension in space:
        low, high = dimension.low, dimension.high
        if dimension.options is not None:
            found[dimension.name] = optuna.distributions.CategoricalDistribution(list(dimension.options))
        elif dimension.kind == "randint":
            found[dimension.name] = optuna.distributions.IntDistribution(int(low), int(high) - 1)
        else:
            log = dimension.kind == "loguniform"
            found[dimension.name] = optuna.distributions.FloatDistribution(low, high, log=log)
    return found


def make_search(
    space: Space, search: str, objectives: Sequence[str], seed: int, concurrent: int
) -> tuple[Searcher | SearchAlgorithm, dict[str, Any]]:
    """What suggests trials, and the space that Ray Tune itself is told."""
    if search == "random":
        return BasicVariantGenerator(random_state=seed, max_concurrent=concurrent), tune_space(space)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    one = len(objectives) == 1
    searcher = OptunaSearch(
        optuna_space(space),
        metric=objectives[0] if one else list(objectives),
        mode=OBJECTIVES[objectives[0]] if one else [OBJECTIVES[name] for name in objectives],
        sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True),
    )
    return ConcurrencyLimiter(searcher, max_concurrent=concurrent), {}


def make_scheduler(
    early_stopping: str, grace_steps: int, max_steps: int, reduction_factor: int
) -> TrialScheduler:
    """ASHA on the average over steps, or none."""
    if early_stopping == "none":
        return FIFOScheduler()
    return AsyncHyperBandScheduler(
        time_attr="step",
        metric="average",
        mode="max",
        grace_period=grace_steps,
        max_t=max_steps + 1,  # a trial ends by itself, with its results written
        reduction_factor=reduction_factor,
    )


def replay(scheduler: TrialScheduler, record: TrialRecord) -> None:
    """Tells a new scheduler what a trial had reached before: Ray Tune keeps its rungs nowhere."""
    trial: Any = SimpleNamespace(trial_id=record.id)  # ASHA asks no more of it
    controller: Any = None
    scheduler.on_trial_add(controller, trial)
    for step, average, _ in record.history:
        scheduler.on_trial_result(controller, trial, {"step": step, "average": average})


def most_concurrent(cluster: ClusterSettings) -> int:
    """Trials that the cluster as it is now can train at a time; 1 at least, for it may grow.

    Every trial's workers get their CPUs, and one CPU stays for the Ray Data of all.
    """
    there = ray.cluster_resources()
    cpus, gpus, use_gpu = there.get("CPU", 0.0), there.get("GPU", 0.0), wants_gpu(cluster.use_gpu)
    workers = cluster.num_workers if isinstance(cluster.num_workers, int) else cluster.num_workers[1]
    if workers == 0:
        return max(1, int(gpus if use_gpu else cpus // max(1.0, cluster.cpus_per_worker)))
    fitting = (cpus - RAY_DATA_CPUS) // (workers * cluster.cpus_per_worker)
    return max(1, int(min(fitting, gpus // workers) if use_gpu else fitting))


def resources(cluster: ClusterSettings) -> PlacementGroupFactory:
    """What a trial's own process takes: memory on the sweep's node, where the run directories are.

    Its workers take their CPUs and GPUs themselves; if its process took CPUs, trials that have begun could
    leave none for the workers that they wait for. Without workers it is the process that trains.
    """
    here = ray.util.get_node_ip_address()
    bundle = {"memory": float(DRIVER_BYTES), f"node:{here}": 0.001}
    if cluster.num_workers == 0:
        bundle |= {
            "CPU": max(1.0, cluster.cpus_per_worker),
            **({"GPU": 1.0} if wants_gpu(cluster.use_gpu) else {}),
        }
    return PlacementGroupFactory([bundle])
