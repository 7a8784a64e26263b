"""Relative paths become absolute on the driver, because workers run in other folders."""

import os
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from pipeline.config import Settings

_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/:].*)")  # three slashes and a name: a relative file


def absolute_paths(settings: Settings, *, cwd: Path) -> Settings:
    """The settings with every local path absolute, relative to `cwd`; addresses with a scheme stay.

    Raises:
        ValueError: The job runs in Ray's temporary copy of a submitted folder and would write into it.
    """
    run, data, model, cluster = settings.run, settings.data, settings.model, settings.cluster
    outputs = {
        "run.output_dir": run.output_dir,
        "run.resume": run.resume,
        "run.tracking_uri": run.tracking_uri,
        "data.prepared_dir": data.prepared_dir,
        "cluster.storage_path": cluster.storage_path,
    }
    relative = {
        name: value for name, value in outputs.items() if value is not None and _is_relative(name, value)
    }
    if relative and _is_temporary_copy(cwd):
        example = " ".join(f"--{name} {_below('/absolute/path', value)}" for name, value in relative.items())
        raise ValueError(
            f"relative {', '.join(relative)} in a job submitted with --working-dir: the job runs in a "
            f"temporary copy of the folder, and files written there are lost; pass {example}"
        )

    def absolute(value: str) -> str:
        return _below(str(cwd), value)

    return replace(
        settings,
        run=replace(
            run,
            output_dir=absolute(run.output_dir),
            resume=run.resume and absolute(run.resume),
            tracking_uri=absolute(run.tracking_uri) if _SQLITE.match(run.tracking_uri) else run.tracking_uri,
        ),
        data=replace(
            data,
            source=data.source if data.source in ("hub", "embedded") else absolute(data.source),
            task_files=tuple(map(absolute, data.task_files)),
            prepared_dir=absolute(data.prepared_dir),
        ),
        model=replace(
            model, backbone=absolute(model.backbone) if _is_folder(model.backbone, cwd) else model.backbone
        ),
        cluster=replace(cluster, storage_path=cluster.storage_path and absolute(cluster.storage_path)),
    )


def _below(folder: str, value: str) -> str:
    """`value` as an absolute path; a relative one starts at `folder`."""
    if sqlite := _SQLITE.match(value):
        return sqlite[1] + _below(folder, sqlite[2])
    if "://" in value:
        return value
    return os.path.normpath(os.path.join(folder, os.path.expanduser(value)))


def _is_relative(name: str, value: str) -> bool:
    if name == "run.tracking_uri":
        return _SQLITE.match(value) is not None
    return "://" not in value and not os.path.isabs(os.path.expanduser(value))


def _is_folder(backbone: str, cwd: Path) -> bool:
    """Whether a backbone is a folder; a Hub id has the same form, so the disk decides."""
    return backbone.startswith((".", "~", "/")) or (cwd / backbone).is_dir()


def _is_temporary_copy(cwd: Path) -> bool:
    # Ray unpacks a submitted folder below <session>/runtime_resources/working_dir_files/.
    return ("runtime_resources", "working_dir_files") in pairwise(cwd.parts)
