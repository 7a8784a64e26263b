"""What one node tells of itself: the Ray task that runs there, and what it gives back.

This file and what it imports stay free of torch, whose import would cost every node seconds.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyarrow.fs import FileSystem

from pipeline.errors import first_line
from pipeline.runs.checkpoints.storage import open_filesystem

PACKAGES = ("ray", "torch", "transformers", "tokenizers", "pyarrow")
MARK = ".camtl-doctor-"


@dataclass(frozen=True)
class NodeReport:
    """What a node tells.

    Attributes:
        versions: Of Python and of the packages that matter; "none" where one is not installed.
        memory: Free bytes of the machine; None where it does not say.
        gpus: Free bytes of each GPU; empty without one, None where they cannot be asked.
        folders: {folder: what is wrong with it}, of those asked for; empty text where nothing is.
    """

    versions: Mapping[str, str]
    memory: int | None
    gpus: tuple[int, ...] | None
    folders: Mapping[str, str] = field(default_factory=dict)


def look(folders: Sequence[tuple[str, str]]) -> NodeReport:
    """Reports on the machine that this runs on.

    Args:
        folders: (folder or URI, name of a file that the driver left there).
    """
    return NodeReport(
        versions(), free_memory(), free_gpu_memory(), {f: problem_with(f, m) for f, m in folders}
    )


def versions() -> dict[str, str]:
    """Versions of Python and of what a run is made of."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def free_memory() -> int | None:
    """Bytes that processes can still have, as Linux counts them."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines)}
    return sizes.get("MemAvailable")


def free_gpu_memory() -> tuple[int, ...] | None:
    """Free bytes of each NVIDIA GPU. A Ray task without a GPU is shown none, so the driver is asked."""
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        return tuple(int(line) * 2**20 for line in told.split())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def problem_with(folder: str, mark: str) -> str:
    """Why a folder cannot be used from here; empty where it can.

    Args:
        folder: Local folder or URI.
        mark: Name of a file that another process left in it; empty where none did.
    """
    try:
        store, path = open_filesystem(folder)
        if mark and _read(store, f"{path}/{mark}") != mark.encode():
            return "holds other files there than on the driver"
        leave_mark(folder, remove=True)
    except FileNotFoundError:
        return "is not the driver's folder: what the driver wrote is not there" if mark else "is not there"
    except (OSError, ValueError, pa.ArrowException) as error:
        return f"cannot be written ({reason_of(error)})"
    return ""


def leave_mark(folder: str, *, remove: bool) -> str:
    """Writes a small file, reads it back, and removes it unless it is to stay; its name.

    Raises:
        OSError: One of these cannot be done.
        ValueError: The storage cannot be reached, or gives back something else.
    """
    store, path = open_filesystem(folder)
    name = MARK + uuid.uuid4().hex
    with store.open_output_stream(f"{path}/{name}") as file:
        file.write(name.encode())
    try:
        if _read(store, f"{path}/{name}") != name.encode():
            raise ValueError(f"{folder} gives back something else than was written: use other storage")
    except BaseException:
        store.delete_file(f"{path}/{name}")
        raise
    if remove:
        store.delete_file(f"{path}/{name}")
    return name


def reason_of(error: Exception) -> str:
    """The cause in a few words: PyArrow puts the operating system's behind its own."""
    text = first_line(error)
    found = re.search(r"\[errno \d+\] (.+)$", text)
    return found[1] if found else text


def remove_mark(folder: str, name: str) -> None:
    """Removes what `leave_mark` left. In a bucket PyArrow keeps the empty folder that it was in."""
    store, path = open_filesystem(folder)
    store.delete_file(f"{path}/{name}")


def _read(store: FileSystem, path: str) -> bytes:
    with store.open_input_stream(path) as file:
        return bytes(file.read())
