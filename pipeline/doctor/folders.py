"""Whether a run's folders can be written, from the driver and from every node, and have room for checkpoints.

Every node imports this module, so it does not import torch.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
from rich.filesize import decimal

from pipeline.config import Settings
from pipeline.doctor.finding import Finding, call_with_timeout
from pipeline.errors import first_line
from pipeline.runs.checkpoints.storage import is_uri, open_filesystem

SECONDS = 60.0  # the client of a bucket that does not answer retries much longer


@dataclass(frozen=True)
class RunFolder:
    """A folder that a run writes to."""

    setting: str  # its name
    path: str  # its value, a local path or a URI
    existing: str  # `path`, or for a local path its nearest parent that exists
    on_all_nodes: bool  # whether every node writes there
    probe: str  # name of the small file that the driver wrote to `existing`; empty where that failed
    problem: str  # why that failed


@contextlib.contextmanager
def probed_folders(settings: Settings) -> Iterator[list[RunFolder]]:
    """Yields the run's folders, each with a small file of the driver until the context ends."""
    storage = settings.cluster.storage_path if settings.cluster.num_workers != 0 else None
    paths = [("run.output_dir", settings.run.output_dir, storage is None)]
    paths += [("cluster.storage_path", storage, True)] if storage else []
    paths += [("data.prepared_dir", settings.data.prepared_dir, True)]
    folders = []
    for setting, path, on_all_nodes in paths:
        existing, probe, problem = path, "", ""
        if not is_uri(path):
            existing = next((str(part) for part in (Path(path), *Path(path).parents) if part.exists()), path)
        try:
            probe = call_with_timeout(SECONDS, partial(write_probe, existing))
        except Exception as error:  # storage clients raise any type
            problem = first_line(error)
        folders.append(RunFolder(setting, path, existing, on_all_nodes, probe, problem))
    try:
        yield folders
    finally:
        for folder in folders:
            if folder.probe:
                with contextlib.suppress(OSError, ValueError):  # the connection was lost: the file stays
                    _remove_probe(folder.existing, folder.probe)


def write_probe(folder: str) -> str:
    """Writes a small file that holds its own name to a local folder or URI. Returns the name."""
    store, path = open_filesystem(folder)
    name = f".camtl-doctor-{uuid.uuid4().hex}"
    with store.open_output_stream(f"{path}/{name}") as file:
        file.write(name.encode())
    return name


def _remove_probe(folder: str, name: str) -> None:
    store, path = open_filesystem(folder)
    store.delete_file(f"{path}/{name}")


def folder_problem(folder: str, probe: str) -> str:
    """Returns why a folder or URI with the driver's probe cannot be used from this node; empty where it can."""
    try:
        store, path = open_filesystem(folder)
        with store.open_input_stream(f"{path}/{probe}") as file:
            if bytes(file.read()) != probe.encode():
                return "has other content than the driver wrote"
        _remove_probe(folder, write_probe(folder))
    except FileNotFoundError:
        return "is not the driver's folder: the driver's file is missing"
    except (OSError, ValueError, pa.ArrowException) as error:
        return f"cannot be written ({first_line(error)})"
    return ""


def check_folders(
    folders: Sequence[RunFolder], problems: Mapping[str, Mapping[str, str]], checkpoint_bytes: int
) -> list[Finding]:
    """Checks that each folder can be written from the driver and the nodes, and has room for all checkpoints.

    `problems` is {node: {existing folder: result of `folder_problem`}}.
    """
    storage = next((each for each in folders if each.setting == "cluster.storage_path"), folders[0])
    return [_check_folder(each, problems, checkpoint_bytes if each is storage else 0) for each in folders]


def _check_folder(folder: RunFolder, problems: Mapping[str, Mapping[str, str]], needed: int) -> Finding:
    name, path = folder.setting, folder.path
    if folder.problem:
        return Finding(name, False, f"{path} cannot be written ({folder.problem})", f"set another {name}")
    message = f"{path} can be written"
    if folder.on_all_nodes and problems:
        for node, of_node in problems.items():
            if problem := of_node.get(folder.existing):
                remedy = f"set {name} to a folder or bucket that all nodes share"
                return Finding(name, False, f"{path} {problem}, seen from node {node}", remedy)
        message += f", also from {len(problems)} node{'s' * (len(problems) != 1)}"
    if is_uri(path):
        return Finding(name, True, message)
    free = shutil.disk_usage(folder.existing).free
    message += f"; {decimal(free)} free"
    if needed:
        message += f", checkpoints take about {decimal(needed)}"
    remedy = "free disk space, lower cluster.keep_checkpoints, or set another folder" if free < needed else ""
    return Finding(name, free >= needed, message, remedy)
