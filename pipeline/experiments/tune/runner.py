"""Runs a sweep's trials with Ray Tune.

Each session of a sweep is a new experiment of Ray Tune. It starts from the sweep's own records: a resumed experiment
could take neither more trials nor another space, and would not have ASHA's rungs.
"""

import logging
import os

import ray
from ray import tune
from ray.tune.execution.placement_groups import PlacementGroupFactory

from pipeline.cluster.connection import RAY_DATA_CPUS, wants_gpu
from pipeline.config import ClusterSettings
from pipeline.experiments.tune.monitor import SweepMonitor
from pipeline.experiments.tune.search import SweepSearch, make_sampler, make_scheduler, new_points
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.trial import TrialTrainable

DRIVER_BYTES = 2**30  # of the process that drives a trial's workers: torch, Ray and MLflow


def run_trials(
    trainable: TrialTrainable, wanted: SweepSettings, monitor: SweepMonitor, concurrent: int
) -> None:
    """Runs unfinished trials and new ones until the grid is complete or `max_trials` or `max_hours` is reached.

    `monitor` has the records of earlier sessions; `concurrent` trials run at a time. Ray Tune writes to
    `tune-<session>` in the sweep's folder.
    """
    log, folder, train, space = monitor.log, monitor.folder, trainable.base.train, trainable.space
    records = log.latest_generation()
    assert train.max_steps is not None
    grace = wanted.grace_steps or min(train.eval_every or train.max_steps, train.max_steps)
    scheduler = make_scheduler(wanted.early_stopping, grace, train.max_steps, wanted.reduction_factor)
    points = new_points(space, records, wanted.max_trials - len(log.trials))
    # Another seed than that of earlier sessions, whose draws would come again.
    sampler = make_sampler(wanted.search, trainable.base.run.seed + len(log.trials))
    search = SweepSearch(space, records, points, wanted.objectives, sampler, scheduler)
    limit = None if wanted.max_hours is None else 3600 * wanted.max_hours
    if search.num_trials and (limit is None or monitor.seconds < limit):
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the monitor prints the trials
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the monitor prints failed trials
        tune.run(
            tune.with_resources(trainable.train, resources(trainable.base.cluster)),
            name=f"tune-{len(list(folder.glob('tune-*'))) + 1}",
            storage_path=str(folder),
            num_samples=search.num_trials,
            search_alg=search,
            max_concurrent_trials=concurrent,
            scheduler=scheduler,
            time_budget_s=None if limit is None else limit - monitor.seconds,
            max_failures=wanted.retries,
            raise_on_failed_trial=False,
            callbacks=[monitor],
            verbose=0,
        )
    if limit is not None and monitor.seconds >= limit:
        monitor.stop_running()  # after Ctrl-C they stay unfinished
    monitor.mark_all()


def most_concurrent(cluster: ClusterSettings) -> int:
    """Returns how many trials the cluster can train at a time now; at least 1, because it may grow.

    Each trial's workers take their CPUs; one CPU stays free for Ray Data, which all trials share.
    """
    total = ray.cluster_resources()
    cpus, gpus, use_gpu = total.get("CPU", 0.0), total.get("GPU", 0.0), wants_gpu(cluster.use_gpu)
    workers = cluster.num_workers if isinstance(cluster.num_workers, int) else cluster.num_workers[1]
    if workers == 0:
        return max(1, int(gpus if use_gpu else cpus // max(1.0, cluster.cpus_per_worker)))
    fitting = (cpus - RAY_DATA_CPUS) // (workers * cluster.cpus_per_worker)
    return max(1, int(min(fitting, gpus // workers) if use_gpu else fitting))


def resources(cluster: ClusterSettings) -> PlacementGroupFactory:
    """Returns what a trial's driver reserves: memory on the sweep's node, where the run directories are.

    Its workers reserve their CPUs and GPUs themselves. If the drivers took CPUs, running trials could leave none for
    the workers that they wait for. Without workers the driver trains, and takes the CPUs.
    """
    bundle = {"memory": float(DRIVER_BYTES), f"node:{ray.util.get_node_ip_address()}": 0.001}
    if cluster.num_workers == 0:
        bundle["CPU"] = max(1.0, cluster.cpus_per_worker)
        if wants_gpu(cluster.use_gpu):
            bundle["GPU"] = 1.0
    return PlacementGroupFactory([bundle])
