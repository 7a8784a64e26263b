"""Reaching Ray, and refusing a run that the cluster could never feed."""

import logging
import os
import socket
from pathlib import Path
from typing import Literal

import ray

from pipeline.sampling.ray_data import configure_ray_data

PROJECT = Path(__file__).parents[2]
RAY_DATA_CPUS = 1.0  # one task that fetches rows


def connect(*, log_to_driver: bool = True) -> None:
    """Connect to the cluster that the job runs on ($RAY_ADDRESS), else start Ray on this machine.

    Args:
        log_to_driver: whether what processes print is shown here too.

    Raises:
        ValueError: there is a cluster and it does not let us in.
    """
    if ray.is_initialized():
        return
    given = os.environ.get("RAY_ADDRESS")
    # Ray Train's watch over its placement groups asks the dashboard; untold, that of any Ray on the machine.
    port = None if given else _free_port()
    dashboard = given or f"http://127.0.0.1:{port}"
    # Workers find the project where the driver found it, installed or not.
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    environment = {"TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": path}
    if ":" in dashboard:  # neither "auto" nor "local"
        environment["RAY_API_SERVER_ADDRESS"] = dashboard
    try:
        ray.init(
            address=given or "local",
            logging_level=logging.WARNING,
            log_to_driver=log_to_driver,
            include_dashboard=None if given else True,
            dashboard_port=port,
            runtime_env={"env_vars": environment},
        )
    except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"Ray at {given or 'this machine'} cannot be reached ({reason}): check RAY_ADDRESS, "
            "and that RAY_AUTH_MODE and the token are those that `ray start` ran with"
        ) from error
    configure_ray_data()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wants_gpu(use_gpu: bool | Literal["auto"]) -> bool:
    """Whether workers take a GPU each; `auto` does where the cluster has one.

    Raises:
        ValueError: GPUs are asked for and the one node that there is has none.
    """
    there = ray.cluster_resources().get("GPU", 0) > 0
    if use_gpu is True and not there and len(ray.nodes()) == 1:
        raise ValueError("cluster.use_gpu is true and Ray has no GPU here: set it to false or auto")
    return there if use_gpu == "auto" else use_gpu


def check_resources(num_workers: int | tuple[int, int], cpus_per_worker: float) -> None:
    """Refuse a run whose workers would leave Ray Data no CPU: it would wait for ever.

    Only a cluster of one node is judged: a larger one may grow.

    Raises:
        ValueError: names the CPUs there are and the settings that fit.
    """
    most = num_workers if isinstance(num_workers, int) else num_workers[0]
    cpus = ray.cluster_resources().get("CPU", 0.0)
    needed = most * cpus_per_worker + RAY_DATA_CPUS
    if len(ray.nodes()) == 1 and needed > cpus:
        fitting = int(max(0.0, cpus - RAY_DATA_CPUS) / cpus_per_worker)
        raise ValueError(
            f"{most} workers of {cpus_per_worker:g} CPUs and {RAY_DATA_CPUS:g} for Ray Data need {needed:g} CPUs, "
            f"Ray has {cpus:g}: use cluster.num_workers up to {fitting}, fewer cluster.cpus_per_worker, "
            "or num_workers 0"
        )
