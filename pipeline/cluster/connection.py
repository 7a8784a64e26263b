"""Connects to Ray, and refuses a run whose workers would never start or never get rows."""

import logging
import os
import socket
from pathlib import Path
from typing import Literal

import ray

from pipeline.errors import first_line
from pipeline.sampling.ray_data import configure_ray_data

PROJECT = Path(__file__).parents[2]
RAY_DATA_CPUS = 1.0  # of the task that fetches rows


def connect(*, log_to_driver: bool = True) -> None:
    """Connects to the cluster at $RAY_ADDRESS, or starts Ray on this machine.

    Raises:
        ValueError: The cluster cannot be reached or refuses the token.
    """
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    # Ray Train asks the dashboard about its placement groups; by default that of any Ray on the machine.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = None if address else probe.getsockname()[1]
    dashboard = address or f"http://127.0.0.1:{port}"
    # Workers import the project from the driver's path, installed or not.
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    environment = {"TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": path}
    if ":" in dashboard:  # not "auto" or "local"
        environment["RAY_API_SERVER_ADDRESS"] = dashboard
    try:
        ray.init(
            address=address or "local",
            logging_level=logging.WARNING,
            log_to_driver=log_to_driver,
            include_dashboard=None if address else True,
            dashboard_port=port,
            runtime_env={"env_vars": environment},
        )
    except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
        raise ValueError(
            f"Ray at {address or 'this machine'} cannot be reached ({first_line(error)}): check RAY_ADDRESS, "
            "and that RAY_AUTH_MODE and the token equal those of `ray start`"
        ) from error
    configure_ray_data()


def wants_gpu(use_gpu: bool | Literal["auto"]) -> bool:
    """Whether each worker takes a GPU; `auto` means if the cluster has one.

    Raises:
        ValueError: GPUs are required, and the only node has none.
    """
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    if use_gpu is True and not has_gpu and len(ray.nodes()) == 1:
        raise ValueError("cluster.use_gpu is true and Ray has no GPU here: set it to false or auto")
    return has_gpu if use_gpu == "auto" else use_gpu


def fewest_workers(num_workers: int | tuple[int, int]) -> int:
    """Returns the number of workers with which a run can start."""
    return num_workers if isinstance(num_workers, int) else num_workers[0]


def check_resources(num_workers: int | tuple[int, int], cpus_per_worker: float) -> None:
    """Refuses a run whose workers leave Ray Data no CPU, as it would wait forever.

    Only a cluster of one node is checked: a larger one may grow.

    Raises:
        ValueError: The message names Ray's CPUs and the settings that fit.
    """
    workers = fewest_workers(num_workers)
    cpus = ray.cluster_resources().get("CPU", 0.0)
    needed = workers * cpus_per_worker + RAY_DATA_CPUS
    if len(ray.nodes()) == 1 and needed > cpus:
        fitting = int(max(0.0, cpus - RAY_DATA_CPUS) / cpus_per_worker)
        raise ValueError(
            f"{workers} workers of {cpus_per_worker:g} CPUs and {RAY_DATA_CPUS:g} for Ray Data need {needed:g} CPUs, "
            f"Ray has {cpus:g}: use cluster.num_workers up to {fitting}, fewer cluster.cpus_per_worker, "
            "or num_workers 0"
        )
