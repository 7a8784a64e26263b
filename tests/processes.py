"""Which processes there are, by what they call themselves: those that this process started, and no others."""

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def started_here(title: bytes) -> list[int]:
    """Ids of the processes whose title begins so and whose ancestor this process is, in ascending order.

    Ray names its processes after what they run (`ray::RayTrainWorker`), so this finds those of this process's
    Ray, and of no other Ray on the machine.
    """
    found = [int(folder.name) for folder in PROC.glob("[0-9]*") if _title(folder).startswith(title)]
    return sorted(process for process in found if os.getpid() in ancestors(process))


def ancestors(process: int) -> Iterator[int]:
    """The process's parent, its parent's parent, and so on; none for a process that has ended."""
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
