"""Runs a training job on Ray Train's workers."""

import contextlib
import logging
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import transformers
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError
from ray.train.v2.api.validation_config import ValidationConfig

from pipeline.cluster.connection import wants_gpu
from pipeline.cluster.reports import POLL_SECONDS, ControllerCallback, Reporter, remove_leftovers
from pipeline.cluster.validation import Evals, evaluate_checkpoint, get_eval_sets
from pipeline.config import ClusterSettings
from pipeline.errors import first_line
from pipeline.runs.checkpoints.store import CheckpointStore, StoredCheckpoint
from pipeline.runs.directory import RunPaths
from pipeline.runs.records import last_step
from pipeline.sampling.batches import Fetch
from pipeline.sampling.ray_data import configure_ray_data
from pipeline.training.distributed import broadcast_object
from pipeline.training.job import TrainJob
from pipeline.training.loop import train_on_rank
from pipeline.training.watchdog import HangError, mark_progress, run_with_watchdog


def train_on_workers(
    job: TrainJob,
    fetch: Fetch,
    evals: Evals,
    settings: ClusterSettings,
    paths: RunPaths,
    attempt: str,
) -> None:
    """Trains to the last step. Arguments as for `launch`; `attempt` is this start's folder in the store.

    Raises:
        ValueError: A worker met a mistake of the user, a rank hangs and no restart is left, or the controller
            was lost; one line.
        WorkerGroupError: Workers failed otherwise, more often than `max_failures`.
    """
    store = paths.store
    # The controller inherits it.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", str(POLL_SECONDS))
    use_gpu = wants_gpu(settings.use_gpu)
    references = {
        task: {split: ray.put(table) for split, table in splits.items()} for task, splits in evals.items()
    }
    validation = None
    if job.evaluate_elsewhere:
        validation = ValidationConfig(
            partial(evaluate_checkpoint, job=job, evals=references, store=store),
            ray_remote_kwargs={"num_cpus": settings.cpus_per_worker, "num_gpus": int(use_gpu)},
        )
    trainer = TorchTrainer(  # type: ignore[call-arg]  # Ray's stub declares the arguments of Train V1
        _run_worker,
        train_loop_config={
            "job": job,
            "fetch": fetch,
            "evals": references,
            "store": store,
            "recorded": last_step(paths.run_dir),
            "hang_timeout": settings.hang_timeout,
        },
        # Twice the watchdog's limit, so that the hanging rank fails before the ranks that wait for it.
        torch_config=TorchConfig(timeout_s=int(2 * settings.hang_timeout)),
        scaling_config=ScalingConfig(
            num_workers=settings.num_workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": settings.cpus_per_worker, **({"GPU": 1} if use_gpu else {})},
        ),
        run_config=RunConfig(  # type: ignore[arg-type]  # as above
            name=attempt,
            storage_path=store.root,
            failure_config=FailureConfig(max_failures=settings.max_failures),
            callbacks=[ControllerCallback(paths, job.mixture.tasks, settings.keep_checkpoints)],
        ),
        validation_config=validation,
    )
    try:
        trainer.fit()
    except ControllerError as error:
        raise ValueError(
            f"Ray Train's controller was lost ({first_line(error.controller_failure)}): "
            f"resume with --run.resume {paths.run_dir}"
        ) from error
    except WorkerGroupError as error:
        causes = [getattr(failure, "cause", failure) for failure in error.worker_failures.values()]
        for kind in (ValueError, HangError):
            if of_kind := [cause for cause in causes if isinstance(cause, kind)]:
                raise ValueError(str(of_kind[0])) from error
        raise
    if job.evaluate_elsewhere and store.best() is None:  # every asynchronous evaluation failed
        newest = store.as_checkpoint(store.checkpoints()[-1])
        evaluate_checkpoint(newest, job=job, evals=references, store=store)


def _run_worker(config: dict[str, Any]) -> None:
    """The training function of every Ray Train worker."""
    rank = ray.train.get_context().get_world_rank()
    who = f"rank {rank} on {socket.gethostname()}"
    run_with_watchdog(partial(_train, config), who=who, limit=config["hang_timeout"])


def _train(config: dict[str, Any]) -> None:
    configure_ray_data()
    logging.disable(logging.INFO)  # Ray Train would print every report in full
    transformers.utils.logging.disable_progress_bar()
    remove_leftovers()
    context = ray.train.get_context()
    device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # it is per thread
    else:  # Ray gives a worker with half a CPU one thread, though its node has more cores
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // context.get_local_world_size()))
    job: TrainJob = config["job"]
    store: CheckpointStore = config["store"]
    mark_progress("looking for a checkpoint")
    notes: list[str] = []
    found = _find_checkpoint(store, config["recorded"], notes) if context.get_world_rank() == 0 else None
    checkpoint = broadcast_object(found)
    with store.open_verified(checkpoint) if checkpoint else contextlib.nullcontext() as folder:
        train_on_rank(
            job,
            fetch=config["fetch"],
            eval_sets=get_eval_sets(job.mixture.tasks, config["evals"]),
            device=device,
            report=Reporter(job.mixture.max_steps),
            resume_from=folder,
            preempted=lambda: ray.train.get_preemption_info() is not None,
            notes=notes,
        )
    mark_progress("handing over the last checkpoint")


def _find_checkpoint(store: CheckpointStore, recorded: int, notes: list[str]) -> StoredCheckpoint | None:
    """Returns the newest intact checkpoint whose records have reached the run directory."""
    # Reports arrive in order, so all records before a checkpoint that Ray Train has registered are written.
    registered = ray.train.get_checkpoint()
    name = Path(registered.path).name if registered else ""
    steps = [stored.step for stored in store.checkpoints() if stored.name == name]
    return store.newest_intact(max([recorded, *steps]), notes.append)
