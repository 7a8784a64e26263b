"""Creates, validates or resumes a run directory and its MLflow run."""

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


@dataclass(frozen=True)
class RunPaths:
    """Where a run stores its files.

    Attributes:
        run_dir: the run directory, on the driver's machine.
        store: the checkpoints, below the storage path or, without one, in the run directory.
        mirror: copy of the run directory below the storage path; None without one.
    """

    run_dir: Path
    store: CheckpointStore
    mirror: Mirror | None = None


def run_paths(settings: Settings) -> RunPaths:
    """The paths of a run; a run in this process (`num_workers: 0`) keeps everything in its run directory."""
    run_dir, root = Path(settings.run.output_dir) / settings.run.name, _storage_root(settings)
    if root is None:
        return RunPaths(run_dir, CheckpointStore(str(run_dir / CHECKPOINTS)))
    return RunPaths(run_dir, CheckpointStore(join_path(root, CHECKPOINTS)), Mirror(join_path(root, MIRROR)))


def validate_run(settings: Settings) -> Path:
    """Checks that the run can be created or resumed; writes nothing. Returns the run directory.

    Raises:
        ValueError: the directory exists without `run.resume` or `run.overwrite`, there is no run to resume, the
            directory cannot be written, the storage path holds a run of this name, or MLflow does not answer.
    """
    run = settings.run
    run_dir = Path(run.output_dir) / run.name
    if run.resume is not None:
        _validate_resume(run_dir, run.resume)
    elif run_dir.exists() and not run.overwrite:
        raise ValueError(
            f"run directory {run_dir} exists: continue it with --run.resume {run_dir}, replace it with "
            "--run.overwrite true, or choose another --run.name"
        )
    check_writable("run.output_dir", run.output_dir)
    if _earlier_run(settings) and run.resume is None and not run.overwrite:
        raise ValueError(
            f"cluster.storage_path {settings.cluster.storage_path} already holds a run {run.name!r}, which Ray Train "
            "would resume: choose another --run.name, or replace the run with --run.overwrite true"
        )
    check_tracking(run.tracking_uri)
    return run_dir


def _validate_resume(run_dir: Path, resume: str) -> None:
    mirror = find_mirror(resume)
    if not (run_dir / RUN_ID).is_file():
        if mirror is None:
            raise ValueError(f"run.resume: {run_dir} is not a run directory (it has no {RUN_ID})")
        if run_dir.exists():
            raise ValueError(
                f"run directory {run_dir} exists, so the run from {resume} cannot be copied there: "
                "choose another --run.output_dir"
            )
    config = run_dir / CONFIG
    seeds = config.is_file() and yaml.safe_load(config.read_text())["run"].get("seeds")
    if seeds:
        raise ValueError(
            f"run.resume: {run_dir} is a group of runs: give its --run.seeds {seeds} too, or resume one of its runs"
        )


def create_or_resume_run(settings: Settings, tags: Mapping[str, str] | None = None) -> tuple[Path, str]:
    """Creates or resumes the run directory and its MLflow run; a new MLflow run gets `tags`.

    Returns the run directory and the MLflow run's id; raises ValueError as `validate_run`.
    """
    run_dir, run = validate_run(settings), settings.run
    try:
        run_dir.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # some file systems pass the earlier check
        raise ValueError(
            f"run.output_dir {run.output_dir} cannot be written ({error.strerror}): choose another folder"
        ) from error
    if run.resume is not None:
        if not run_dir.exists() and (mirror := find_mirror(run.resume)):
            unfinished = run_dir.with_name(f".{run_dir.name}.fetching")
            shutil.rmtree(unfinished, ignore_errors=True)
            mirror.fetch(unfinished)
            os.replace(unfinished, run_dir)
        run_id = (run_dir / RUN_ID).read_text().strip()
        resume_run(run.tracking_uri, run_id)
        return run_dir, run_id
    parameters = asdict(settings)
    # MLflow stores the name; as a parameter it would be the largest difference between compared runs.
    logged = {**parameters, "run": {key: value for key, value in parameters["run"].items() if key != "name"}}
    run_tags = {"run_dir": str(run_dir), **(tags or {})}
    run_id = start_run(run.tracking_uri, run.experiment, run.name, logged, run_tags)
    if run_dir.exists():
        shutil.rmtree(run_dir)
    if earlier := _earlier_run(settings):
        fs, path = earlier
        fs.delete_dir(path)
    run_dir.mkdir()
    (run_dir / CONFIG).write_text(redact(yaml.safe_dump(parameters, sort_keys=False)))
    (run_dir / RUN_ID).write_text(run_id + "\n")
    if mirror := run_paths(settings).mirror:
        mirror.put(run_dir, (CONFIG, RUN_ID))
    return run_dir, run_id


def _storage_root(settings: Settings) -> str | None:
    """The run's folder below the storage path; None for a run that uses no storage."""
    if settings.cluster.storage_path is None or settings.cluster.num_workers == 0:
        return None
    return join_path(settings.cluster.storage_path, settings.run.name)


def _earlier_run(settings: Settings) -> tuple[Any, str] | None:
    """File system and path of a run of this name below the storage path; None where there is none."""
    root = _storage_root(settings)
    if root is None:
        return None
    fs, path = open_filesystem(root)
    try:
        return (fs, path) if fs.get_file_info(path).type == FileType.Directory else None
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"cluster.storage_path {settings.cluster.storage_path} cannot be read ({first_line(error)})"
        ) from error
