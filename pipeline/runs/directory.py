"""A run's directory: refused where it cannot be had, made anew or continued, with its MLflow run beside it."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from pyarrow.fs import FileType

from pipeline.config import Settings
from pipeline.data.checks import check_writable
from pipeline.errors import first_line
from pipeline.runs.checkpoints.storage import join_path, open_filesystem
from pipeline.runs.checkpoints.store import CheckpointStore
from pipeline.runs.mirror import MIRROR, RUN_ID, Mirror, find_mirror
from pipeline.tracking.runs import check_tracking, resume_run, start_run
from pipeline.tracking.texts import redact

CONFIG, CHECKPOINTS = "config.yaml", "checkpoints"


def validate_run(settings: Settings) -> Path:
    """The run directory, where it can be had; nothing is written.

    Raises:
        ValueError: the directory exists and neither `run.resume` nor `run.overwrite` is given, there is
            nothing to resume, it cannot be written, or the tracking server does not answer.
    """
    run = settings.run
    run_dir = Path(run.output_dir) / run.name
    stored_run = run.resume and find_mirror(run.resume)
    if run.resume is not None and not (run_dir / RUN_ID).is_file():
        if not stored_run:
            raise ValueError(f"run.resume: {run_dir} is not a run directory (it has no {RUN_ID})")
        if run_dir.exists():
            raise ValueError(
                f"run directory {run_dir} is in the way of the run from {run.resume}: give another --run.output_dir"
            )
    if run.resume is not None and (run_dir / CONFIG).is_file():
        stored = yaml.safe_load((run_dir / CONFIG).read_text())["run"]
        if seeds := stored.get("seeds"):
            raise ValueError(
                f"run.resume: {run_dir} is a group of runs: give its --run.seeds {seeds} too, or resume one of its runs"
            )
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


def create_or_resume_run(settings: Settings, tags: Mapping[str, str] | None = None) -> tuple[Path, str]:
    """The run directory and its MLflow run, new or continued; a new one gets `tags`.

    Raises:
        ValueError: as `validate_run` does.
    """
    run_dir, run = validate_run(settings), settings.run
    try:
        run_dir.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # not every file system tells before
        raise ValueError(
            f"run.output_dir {run.output_dir} cannot be written ({error.strerror}): give another one"
        ) from error
    if run.resume is not None:
        if not run_dir.exists() and (mirror := find_mirror(run.resume)):
            fetching = run_dir.with_name(f".{run_dir.name}.fetching")
            shutil.rmtree(fetching, ignore_errors=True)
            mirror.fetch(fetching)
            os.replace(fetching, run_dir)
        run_id = (run_dir / RUN_ID).read_text().strip()
        resume_run(run.tracking_uri, run_id)
        return run_dir, run_id
    parameters = asdict(settings)
    told = {"run_dir": str(run_dir), **(tags or {})}
    # MLflow has the name; as a parameter it would be what differs most among runs that are compared.
    logged = {
        **parameters,
        "run": {name: value for name, value in parameters["run"].items() if name != "name"},
    }
    run_id = start_run(run.tracking_uri, run.experiment, run.name, logged, told)
    if run_dir.exists():
        shutil.rmtree(run_dir)
    if stored := _stored(settings):
        stored[0].delete_dir(stored[1])
    run_dir.mkdir()
    (run_dir / CONFIG).write_text(redact(yaml.safe_dump(to_yaml_types(parameters), sort_keys=False)))
    (run_dir / RUN_ID).write_text(run_id + "\n")
    if mirror := run_paths(settings).mirror:
        mirror.put(run_dir, (CONFIG, RUN_ID))
    return run_dir, run_id


@dataclass(frozen=True)
class RunPaths:
    """Where a run keeps what.

    Attributes:
        run_dir: the run directory, on the driver's machine.
        store: of its checkpoints: in the storage path, else in the run directory.
        mirror: copy of the run directory in the storage path, where there is one.
    """

    run_dir: Path
    store: CheckpointStore
    mirror: Mirror | None = None


def run_paths(settings: Settings) -> RunPaths:
    """The places of a run; one in this process keeps everything in its run directory."""
    run_dir, storage_path = Path(settings.run.output_dir) / settings.run.name, _storage_path(settings)
    if storage_path is None:
        return RunPaths(run_dir, CheckpointStore(str(run_dir / CHECKPOINTS)))
    root = join_path(storage_path, settings.run.name)
    return RunPaths(run_dir, CheckpointStore(join_path(root, CHECKPOINTS)), Mirror(join_path(root, MIRROR)))


def _storage_path(settings: Settings) -> str | None:
    return settings.cluster.storage_path if settings.cluster.num_workers != 0 else None


def _stored(settings: Settings) -> tuple[Any, str] | None:
    """Where the storage path holds checkpoints under the run's name, if it does."""
    storage_path = _storage_path(settings)
    if storage_path is None:
        return None
    store, path = open_filesystem(join_path(storage_path, settings.run.name))
    try:
        return (store, path) if store.get_file_info(path).type == FileType.Directory else None
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"cluster.storage_path {storage_path} cannot be read ({first_line(error)})"
        ) from error


def to_yaml_types(value: Any) -> Any:
    """Settings as YAML has them: lists for tuples."""
    if isinstance(value, Mapping):
        return {name: to_yaml_types(item) for name, item in value.items()}
    return [to_yaml_types(item) for item in value] if isinstance(value, (list, tuple)) else value
