"""The way of records and checkpoints from a Ray Train worker through its controller to the run directory."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint, CheckpointUploadMode, UserCallback

from pipeline.compat import persist_checkpoint
from pipeline.errors import first_line
from pipeline.runs.checkpoints.checkpoint import seal
from pipeline.runs.checkpoints.retry import retry_io
from pipeline.runs.checkpoints.store import checkpoint_name
from pipeline.runs.directory import RunPaths
from pipeline.runs.events import log_event
from pipeline.runs.records import Records, write_chunk
from pipeline.training.loop import Save

LOCAL_PREFIX = "camtl-checkpoint-"
POLL_SECONDS = 0.5  # Ray Train's controller takes one report of every rank, then waits this long
REPORT_SECONDS = 2.0  # training time per report; reports that come faster than the polls would queue up


class Reporter:
    """Sends reports without waiting: a thread of Ray Train uploads and reports in order."""

    def __init__(self, last_step: int) -> None:
        """`last_step` of the run; its checkpoint must be stored."""
        self._last_step = last_step
        self._waiting: list[Records] = []

    def __call__(self, records: Records, save: Save | None, metrics: dict[str, Any] | None) -> None:
        """As `loop.Report`. Records wait for a checkpoint or until they cover `REPORT_SECONDS`, on every rank alike."""
        self._waiting.append(records)
        if metrics is None and sum(part.seconds for part in self._waiting) < REPORT_SECONDS:
            return
        mode = CheckpointUploadMode.ASYNC
        ray.train.report({"records": self._waiting}, checkpoint_upload_mode=mode)
        self._waiting = []
        if metrics is None:
            return
        notes: list[str] = []  # the upload, which precedes the report, appends to them
        reported = {**metrics, "notes": notes}
        required = metrics["step"] == self._last_step
        folder = save_locally(save, notes.append, required=required) if save else None
        if folder is None:
            ray.train.report(reported, checkpoint_upload_mode=mode)
            return
        ray.train.report(
            reported,
            checkpoint=Checkpoint.from_directory(str(folder)),
            checkpoint_dir_name=checkpoint_name(metrics["step"]),
            checkpoint_upload_mode=mode,
            delete_local_checkpoint_after_upload=True,
            checkpoint_upload_fn=partial(_upload, metrics=metrics, log=notes.append),
            validation=metrics["to_evaluate"],
        )


def save_locally(save: Save, log: Callable[[str], None], *, required: bool) -> Path | None:
    """Saves a checkpoint in a temporary folder; returns None if the disk is full and the checkpoint not required."""
    folder = Path(tempfile.mkdtemp(prefix=f"{LOCAL_PREFIX}{os.getpid()}-"))
    try:
        save(folder)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if required:
            raise ValueError(
                f"the last checkpoint cannot be written to {folder.parent} ({first_line(error)}): "
                "free disk space there, and resume with --run.resume"
            ) from error
        log(f"checkpoint left out: {folder.parent} cannot be written ({first_line(error)})")
        return None
    return folder


def _upload(
    checkpoint: Checkpoint, name: str, *, metrics: dict[str, Any], log: Callable[[str], None]
) -> Checkpoint:
    """Seals a checkpoint and copies it to storage."""
    seal(Path(checkpoint.path), metrics)
    store = partial(persist_checkpoint, ray.train.get_context(), checkpoint, name)
    persisted: Checkpoint = retry_io(store, f"storing checkpoint {name}", log)
    return persisted


def remove_leftovers() -> None:
    """Removes local checkpoints of workers that were killed before the upload."""
    for folder in Path(tempfile.gettempdir()).glob(f"{LOCAL_PREFIX}*"):
        process = folder.name.removeprefix(LOCAL_PREFIX).partition("-")[0]
        if not Path(f"/proc/{process}").exists():
            shutil.rmtree(folder, ignore_errors=True)


class ControllerCallback(UserCallback):
    """Writes the ranks' reports to the run directory, prunes the store, and logs changes of the workers.

    Runs in Ray Train's controller, on the driver's node.
    """

    def __init__(self, paths: RunPaths, tasks: Sequence[str], keep: int) -> None:
        self._paths, self._tasks, self._keep = paths, tuple(tasks), keep
        self._log = partial(log_event, paths.run_dir)
        self._workers = self._resumed_at = 0

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Called when every rank has reported."""
        for note in [note for reported in metrics for note in reported.get("notes", ())]:
            self._log(note)
        of_ranks: list[list[Records]] = [reported["records"] for reported in metrics if "records" in reported]
        if len(of_ranks) == len(metrics):
            for records in zip(*of_ranks, strict=True):
                self.write_records(records)
        if checkpoint is not None:
            name = Path(checkpoint.path).name
            prune = partial(self._paths.store.prune, self._keep, name)
            retry_io(prune, f"removing the checkpoints that {name} replaces", self._log)

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called when workers have failed."""
        for rank, error in sorted(worker_exceptions.items()):
            cause = getattr(error, "cause", error)
            self._log(f"worker {rank} failed: {type(cause).__name__}: {first_line(cause)}")

    def write_records(self, records: Sequence[Records]) -> None:
        """Writes all ranks' records of the same steps as one chunk."""
        self._log_workers(len(records), records[0].resumed_at)
        for note in records[0].notes:
            self._log(note)
        step = f"the records of step {records[0].last_step}"
        retry_io(
            partial(write_chunk, self._paths.run_dir, records, self._tasks), f"writing {step}", self._log
        )
        if self._paths.mirror is not None:
            put = partial(self._paths.mirror.put_records, self._paths.run_dir)
            retry_io(put, f"copying {step}", self._log)

    def _log_workers(self, workers: int, resumed_at: int) -> None:
        if self._workers and (workers, resumed_at) != (self._workers, self._resumed_at):
            count = f"{workers} worker{'s' * (workers != 1)}"
            changed = f" instead of {self._workers}" if workers != self._workers else " again"
            self._log(f"training resumes from step {resumed_at} with {count}{changed}")
        self._workers, self._resumed_at = workers, resumed_at
