"""What a Ray Train worker hands over while it trains: its records, and checkpoints of rank 0."""

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint, CheckpointUploadMode

from pipeline.compat import persist_checkpoint
from pipeline.errors import first_line
from pipeline.runs.checkpoints.checkpoint import seal
from pipeline.runs.checkpoints.retry import retry_io
from pipeline.runs.checkpoints.store import checkpoint_name
from pipeline.runs.records import Records
from pipeline.training.loop import Save

LOCAL_PREFIX = "camtl-checkpoint-"
POLL_SECONDS = 0.5  # Ray Train's controller takes one report of every rank, then waits for so long
REPORT_SECONDS = 2.0  # of training that go into one report; more reports than polls would pile up


class Reporter:
    """Hands over without waiting: uploads and reports are done in order by a thread of Ray Train's."""

    def __init__(self, last_step: int) -> None:
        """`last_step` is the run's; its checkpoint must be stored."""
        self._last_step = last_step
        self._waiting: list[Records] = []

    def __call__(self, records: Records, save: Save | None, metrics: dict[str, Any] | None) -> None:
        """As `loop.Report`. Records wait for a checkpoint or for others, and for equally many on every rank."""
        self._waiting.append(records)
        if metrics is None and sum(part.seconds for part in self._waiting) < REPORT_SECONDS:
            return
        later = CheckpointUploadMode.ASYNC
        ray.train.report({"records": self._waiting}, checkpoint_upload_mode=later)
        self._waiting = []
        if metrics is None:
            return
        notes: list[str] = []  # the upload, which comes before the report, adds to them
        told = {**metrics, "notes": notes}
        must = metrics["step"] == self._last_step
        folder = saved_in_folder(save, notes.append, must=must) if save else None
        if folder is not None:
            seal_and_store = partial(_upload, metrics=metrics, tell=notes.append)
            ray.train.report(
                told,
                checkpoint=Checkpoint.from_directory(str(folder)),
                checkpoint_dir_name=checkpoint_name(metrics["step"]),
                checkpoint_upload_mode=later,
                delete_local_checkpoint_after_upload=True,
                checkpoint_upload_fn=seal_and_store,
                validation=metrics["to_evaluate"],
            )
        else:
            ray.train.report(told, checkpoint_upload_mode=later)


def saved_in_folder(save: Save, tell: Callable[[str], None], *, must: bool) -> Path | None:
    """A checkpoint in a folder of this machine; None where there is no room and a later one will do."""
    folder = Path(tempfile.mkdtemp(prefix=f"{LOCAL_PREFIX}{os.getpid()}-"))
    try:
        save(folder)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if must:
            raise ValueError(
                f"the last checkpoint cannot be written to {folder.parent} ({first_line(error)}): "
                "make room there, and go on with --run.resume"
            ) from error
        tell(f"checkpoint left out: {folder.parent} cannot be written ({first_line(error)})")
        return None
    return folder


def _upload(
    checkpoint: Checkpoint, name: str, *, metrics: dict[str, Any], tell: Callable[[str], None]
) -> Checkpoint:
    """Seal a checkpoint and copy it to storage, again and again while storage is full or away."""
    seal(Path(checkpoint.path), metrics)
    store = partial(persist_checkpoint, ray.train.get_context(), checkpoint, name)
    persisted: Checkpoint = retry_io(store, f"storing checkpoint {name}", tell)
    return persisted


def remove_leftovers() -> None:
    """Checkpoints on this machine whose worker was killed before they were stored."""
    for folder in Path(tempfile.gettempdir()).glob(f"{LOCAL_PREFIX}*"):
        process = folder.name.removeprefix(LOCAL_PREFIX).partition("-")[0]
        if not Path(f"/proc/{process}").exists():
            shutil.rmtree(folder, ignore_errors=True)
