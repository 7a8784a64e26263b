"""A run's directory: refused where it cannot be had, made anew or continued, with its MLflow run beside it."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from pyarrow.fs import FileSystem, FileType, LocalFileSystem

from pipeline.config import Settings
from pipeline.data_check import check_writable
from pipeline.tracking_runs import check_tracking, continue_run, start_run
from pipeline.tracking_texts import redact

CONFIG, RUN_ID = "config.yaml", ".mlflow_run_id"


def check_run(settings: Settings) -> Path:
    """The run directory, where it can be had; nothing is written.

    Raises:
        ValueError: the directory exists and neither `run.resume` nor `run.overwrite` is given, there is
            nothing to resume, it cannot be written, or the tracking server does not answer.
    """
    run = settings.run
    run_dir = Path(run.output_dir) / run.name
    if run.resume is not None and not (run_dir / RUN_ID).is_file():
        raise ValueError(f"run.resume: {run_dir} is not a run directory (it has no {RUN_ID})")
    if run.resume is None and run_dir.exists() and not run.overwrite:
        raise ValueError(
            f"run directory {run_dir} exists: continue it with --run.resume {run_dir}, replace it with "
            "--run.overwrite true, or give another --run.name"
        )
    check_writable("run.output_dir", run.output_dir)
    stored = _stored(settings)
    if stored is not None and run.resume is None and not run.overwrite:
        raise ValueError(
            f"cluster.storage_path {settings.cluster.storage_path} holds a run {run.name!r} already, which Ray Train "
            "would go on with: give another --run.name, or replace it with --run.overwrite true"
        )
    check_tracking(run.tracking_uri)
    return run_dir


def open_run(settings: Settings) -> tuple[Path, str]:
    """The run directory and its MLflow run, new or continued.

    Raises:
        ValueError: as `check_run` does.
    """
    run_dir, run = check_run(settings), settings.run
    try:
        run_dir.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # not every file system tells before
        raise ValueError(
            f"run.output_dir {run.output_dir} cannot be written ({error.strerror}): give another one"
        ) from error
    if run.resume is not None:
        run_id = (run_dir / RUN_ID).read_text().strip()
        continue_run(run.tracking_uri, run_id)
        return run_dir, run_id
    parameters = asdict(settings)
    run_id = start_run(run.tracking_uri, run.experiment, run.name, parameters, {"run_dir": str(run_dir)})
    if run_dir.exists():
        shutil.rmtree(run_dir)
    if stored := _stored(settings):
        stored[0].delete_dir(stored[1])
    run_dir.mkdir()
    (run_dir / CONFIG).write_text(redact(yaml.safe_dump(_plain(parameters), sort_keys=False)))
    (run_dir / RUN_ID).write_text(run_id + "\n")
    return run_dir, run_id


def _stored(settings: Settings) -> tuple[FileSystem, str] | None:
    """Where the storage path holds checkpoints under the run's name, if it does."""
    storage_path = settings.cluster.storage_path
    if storage_path is None:
        return None
    try:
        store, folder = (
            FileSystem.from_uri(storage_path) if "://" in storage_path else (LocalFileSystem(), storage_path)
        )
        path = f"{folder.rstrip('/')}/{settings.run.name}"
        return (store, path) if store.get_file_info(path).type == FileType.Directory else None
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"cluster.storage_path {storage_path} cannot be read ({str(error).splitlines()[0]})"
        ) from error


def _plain(value: Any) -> Any:
    """Settings as YAML has them: lists for tuples."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
