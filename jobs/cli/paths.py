"""Relative paths become absolute on the driver, because workers run in other folders."""

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.config import Settings, with_values

_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/:].*)")  # three slashes and a name: a relative file


def absolute_paths(settings: Settings, *, cwd: Path) -> Settings:
    """The settings with every local path absolute, relative to `cwd`; addresses with a scheme stay.

    Raises:
        ValueError: The job runs in Ray's temporary copy of a submitted folder and would write into it.
    """
    outputs = {
        "run.output_dir": settings.run.output_dir,
        "run.resume": settings.run.resume,
        "run.tracking_uri": settings.run.tracking_uri,
        "data.prepared_dir": settings.data.prepared_dir,
        "cluster.storage_path": settings.cluster.storage_path,
    }
    paths = {name: path for name, path in outputs.items() if path is not None and _is_local(name, path)}
    relative = {name: path for name, path in paths.items() if not os.path.isabs(os.path.expanduser(path))}
    if relative and _is_temporary_copy(cwd):
        example = " ".join(f"--{name} {_below('/absolute/path', path)}" for name, path in relative.items())
        raise ValueError(
            f"relative {', '.join(relative)} in a job submitted with --working-dir: the job runs in a "
            f"temporary copy of the folder, and files written there are lost; pass {example}"
        )
    if settings.data.source not in ("hub", "embedded"):
        paths["data.source"] = settings.data.source
    if _is_folder(settings.model.backbone, cwd):
        paths["model.backbone"] = settings.model.backbone
    absolute: dict[str, Any] = {name: _below(str(cwd), path) for name, path in paths.items()}
    absolute["data.task_files"] = [_below(str(cwd), path) for path in settings.data.task_files]
    return with_values(settings, absolute)


def _below(folder: str, value: str) -> str:
    """`value` as an absolute path; a relative one starts at `folder`."""
    if sqlite := _SQLITE.match(value):
        return sqlite[1] + _below(folder, sqlite[2])
    if "://" in value:
        return value
    return os.path.normpath(os.path.join(folder, os.path.expanduser(value)))


def _is_local(name: str, value: str) -> bool:
    return _SQLITE.match(value) is not None if name == "run.tracking_uri" else "://" not in value


def _is_folder(backbone: str, cwd: Path) -> bool:
    """Whether a backbone is a folder; a Hub id has the same form, so the disk decides."""
    return backbone.startswith((".", "~", "/")) or (cwd / backbone).is_dir()


def _is_temporary_copy(cwd: Path) -> bool:
    # Ray unpacks a submitted folder below <session>/runtime_resources/working_dir_files/.
    return ("runtime_resources", "working_dir_files") in pairwise(cwd.parts)
