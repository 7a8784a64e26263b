"""Finds the processes that this process started, by their title, and no others."""

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def descendants_named(title: bytes) -> list[int]:
    """Returns the ids of this process's descendants whose title starts with `title`, in ascending order.

    Ray titles its processes by what they run (`ray::RayTrainWorker`); those of another Ray are no descendants.
    """
    named = [int(folder.name) for folder in PROC.glob("[0-9]*") if _title(folder).startswith(title)]
    return sorted(process for process in named if os.getpid() in ancestors(process))


def ancestors(process: int) -> Iterator[int]:
    """Yields the process's parent, its parent's parent, and so on; nothing for a process that has ended."""
    while process > 1:
        try:
            process = int((PROC / str(process) / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
        yield process


def _title(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:  # it has just ended
        return b""
