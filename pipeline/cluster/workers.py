"""A training job on Ray Train's workers: started, watched, restarted, and what happened told in words."""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import transformers
from ray.train import Checkpoint, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError
from ray.train.v2.api.validation_config import ValidationConfig

from pipeline.cluster import connection as cluster
from pipeline.cluster.reports import POLL_SECONDS, Reporter, remove_leftovers
from pipeline.cluster.validation import evaluate_checkpoint
from pipeline.config import ClusterSettings
from pipeline.errors import first_line
from pipeline.runs.checkpoints.retry import retry_io
from pipeline.runs.checkpoints.store import CheckpointStore, StoredCheckpoint
from pipeline.runs.directory import RunPaths
from pipeline.runs.events import log_event
from pipeline.runs.records import Records, last_step, write_chunk
from pipeline.sampling.batches import Fetch
from pipeline.sampling.ray_data import configure_ray_data
from pipeline.training.distributed import broadcast_object
from pipeline.training.evaluation import EvalSet
from pipeline.training.job import TrainJob
from pipeline.training.loop import train_on_rank
from pipeline.training.watchdog import HangError, mark_progress, run_with_watchdog


def train(
    job: TrainJob,
    fetch: Fetch,
    evals: Mapping[str, Mapping[str, Any]],
    settings: ClusterSettings,
    paths: RunPaths,
    attempt: str,
) -> None:
    """Train on workers to the last step; arguments as of `launch`, `attempt` is the store's folder for this one.

    Raises:
        ValueError: a mistake that only a worker could see, a rank that hangs with no attempt left, or a lost
            controller; one line.
        WorkerGroupError: workers failed in another way, more often than `max_failures`.
    """
    store = paths.store
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", str(POLL_SECONDS))  # Ray Train hands it on
    use_gpu = cluster.wants_gpu(settings.use_gpu)
    resources = {"CPU": settings.cpus_per_worker, **({"GPU": 1} if use_gpu else {})}
    references = {
        task: {split: ray.put(table) for split, table in part.items()} for task, part in evals.items()
    }
    trainer = TorchTrainer(  # type: ignore[call-arg]  # Train V2's own; the stub still names V1's
        _worker,
        train_loop_config={
            "job": job,
            "fetch": fetch,
            "evals": references,
            "store": store,
            "recorded": last_step(paths.run_dir),
            "hang_timeout": settings.hang_timeout,
        },
        # Longer than the watchdog's limit, so that the rank that hangs is named before those that wait for it.
        torch_config=TorchConfig(timeout_s=int(2 * settings.hang_timeout)),
        scaling_config=ScalingConfig(
            num_workers=settings.num_workers,
            use_gpu=use_gpu,
            resources_per_worker=resources,
        ),
        run_config=RunConfig(  # type: ignore[arg-type]  # Train V2's own; the stub still names V1's
            name=attempt,
            storage_path=store.root,
            failure_config=FailureConfig(max_failures=settings.max_failures),
            callbacks=[Follow(paths, job.mixture.tasks, settings.keep_checkpoints)],
        ),
        validation_config=ValidationConfig(
            partial(evaluate_checkpoint, job=job, evals=references, store=store),
            ray_remote_kwargs={"num_cpus": resources["CPU"], "num_gpus": resources.get("GPU", 0)},
        )
        if job.evaluate_elsewhere
        else None,
    )
    try:
        trainer.fit()
    except ControllerError as error:
        raise ValueError(
            f"Ray Train's controller was lost ({first_line(error.controller_failure)}): "
            f"go on with --run.resume {paths.run_dir}"
        ) from error
    except WorkerGroupError as error:
        causes = [getattr(failure, "cause", failure) for failure in error.worker_failures.values()]
        for kind in (ValueError, HangError):
            if told := [cause for cause in causes if isinstance(cause, kind)]:
                raise ValueError(str(told[0])) from error
        raise
    if job.evaluate_elsewhere and store.best() is None:  # every evaluation elsewhere has failed
        newest = store.as_checkpoint(store.checkpoints()[-1])
        evaluate_checkpoint(newest, job=job, evals=references, store=store)


class Follow(UserCallback):
    """Runs in Ray Train's controller, on the driver's node: what the ranks report becomes a chunk.

    It keeps the store small, and tells what happens to the workers.
    """

    def __init__(self, paths: RunPaths, tasks: Sequence[str], keep: int) -> None:
        self._paths = paths
        self._tasks = tuple(tasks)
        self._keep = keep
        self._workers = 0
        self._resumed_at = 0

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Called when every rank has reported."""
        for note in [note for reported in metrics for note in reported.get("notes", ())]:
            log_event(self._paths.run_dir, note)
        of_ranks: list[list[Records]] = [reported["records"] for reported in metrics if "records" in reported]
        if len(of_ranks) == len(metrics):
            for records in zip(*of_ranks, strict=True):
                self._record(records)
        if checkpoint is not None:
            name = Path(checkpoint.path).name
            prune = partial(self._paths.store.prune, self._keep, name)
            self._retry_io(prune, f"removing the checkpoints that {name} replaces")

    def _record(self, records: Sequence[Records]) -> None:
        """What all ranks did in the same steps becomes a chunk."""
        self._tell_workers(len(records), records[0].resumed_at)
        for note in records[0].notes:
            log_event(self._paths.run_dir, note)
        step = f"the records of step {records[0].last_step}"
        write = partial(write_chunk, self._paths.run_dir, records, self._tasks)
        self._retry_io(write, f"writing {step}")
        if self._paths.mirror is not None:
            put = partial(self._paths.mirror.put_records, self._paths.run_dir)
            self._retry_io(put, f"copying {step}")

    def _retry_io(self, action: Callable[[], object], what: str) -> None:
        """Disks that are full and storage that is away must not end a run at once."""
        retry_io(action, what, partial(log_event, self._paths.run_dir))

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called when workers have failed."""
        for rank, error in sorted(worker_exceptions.items()):
            cause = getattr(error, "cause", error)
            log_event(
                self._paths.run_dir, f"worker {rank} failed: {type(cause).__name__}: {first_line(cause)}"
            )

    def _tell_workers(self, workers: int, resumed_at: int) -> None:
        if self._workers and (workers, resumed_at) != (self._workers, self._resumed_at):
            count = f"{workers} worker{'s' * (workers != 1)}"
            changed = f" instead of {self._workers}" if workers != self._workers else " again"
            log_event(
                self._paths.run_dir,
                f"training goes on from step {resumed_at} with {count}{changed}",
            )
        self._workers, self._resumed_at = workers, resumed_at


def _worker(config: dict[str, Any]) -> None:
    """What runs on every Ray Train worker."""
    rank = ray.train.get_context().get_world_rank()
    who = f"rank {rank} on {socket.gethostname()}"
    run_with_watchdog(partial(_work, config), who=who, limit=config["hang_timeout"])


def _work(config: dict[str, Any]) -> None:
    configure_ray_data()
    logging.disable(logging.INFO)  # Ray Train would print every report in full
    transformers.utils.logging.disable_progress_bar()
    remove_leftovers()
    context = ray.train.get_context()
    device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # a thread's own
    else:  # Ray gives a worker of half a CPU one thread; the cores of its node are there
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // context.get_local_world_size()))
    job: TrainJob = config["job"]
    store: CheckpointStore = config["store"]
    mark_progress("looking for a checkpoint")
    notes: list[str] = []
    found = broadcast_object(
        _to_go_on_from(store, config["recorded"], notes) if context.get_world_rank() == 0 else None
    )
    evals = {
        task: {split: ray.get(ref) for split, ref in part.items()} for task, part in config["evals"].items()
    }
    with store.open_verified(found) if found else contextlib.nullcontext() as folder:
        train_on_rank(
            job,
            fetch=config["fetch"],
            eval_sets=EvalSet.of_tables(job.mixture.tasks, evals),
            device=device,
            report=Reporter(job.mixture.max_steps),
            resume_from=folder,
            preempted=lambda: ray.train.get_preemption_info() is not None,
            notes=notes,
        )
    mark_progress("handing over the last checkpoint")


def _to_go_on_from(store: CheckpointStore, recorded: int, notes: list[str]) -> StoredCheckpoint | None:
    """The newest sound checkpoint whose records have reached the run directory."""
    # Reports arrive in order, so what came before a checkpoint that Ray Train has registered is recorded.
    registered = ray.train.get_checkpoint()
    name = Path(registered.path).name if registered else ""
    steps = [stored.step for stored in store.checkpoints() if stored.name == name]
    return store.newest_intact(max([recorded, *steps]), notes.append)
