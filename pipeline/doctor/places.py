"""Whether what a run writes can be written, from the driver and from every node, and whether there is room."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Settings
from pipeline.doctor.finding import Finding, in_bytes, within
from pipeline.doctor.node import NodeReport, leave_mark, reason_of, remove_mark
from pipeline.runs.checkpoints.storage import is_uri

SECONDS = 60.0  # a bucket that does not answer is asked again and again by its client
BYTES_PER_PARAMETER = 3 * 4  # weights and AdamW's two moments, float32


@dataclass(frozen=True)
class Place:
    """A folder that a run writes to.

    Attributes:
        setting: That names it.
        wanted: What the setting says.
        folder: Where a test can write: a URI, or the nearest folder that is there.
        everywhere: Whether every node writes there.
        mark: Name of the file that the driver left in it; empty where it could not.
        problem: Why not.
    """

    setting: str
    wanted: str
    folder: str
    everywhere: bool
    mark: str = ""
    problem: str = ""


@contextlib.contextmanager
def marked(settings: Settings) -> Iterator[list[Place]]:
    """The run's folders, with a small file of the driver's in each for as long as the context lasts."""
    storage = settings.cluster.storage_path if settings.cluster.num_workers != 0 else None
    wanted = [("run.output_dir", settings.run.output_dir, storage is None)]
    wanted += [("cluster.storage_path", storage, True)] if storage else []
    wanted += [("data.prepared_dir", settings.data.prepared_dir, True)]
    places = [_marked(*which) for which in wanted]
    try:
        yield places
    finally:
        for place in places:
            if place.mark:
                with contextlib.suppress(OSError, ValueError):  # it was just written; what else could be done
                    remove_mark(place.folder, place.mark)


def _marked(setting: str, wanted: str, everywhere: bool) -> Place:
    folder = wanted if is_uri(wanted) else str(nearest(Path(wanted)))
    try:
        mark = within(SECONDS, lambda: leave_mark(folder, remove=False))
        return Place(setting, wanted, folder, everywhere, mark)
    except Exception as error:  # of a storage's client
        return Place(setting, wanted, folder, everywhere, problem=reason_of(error))


def nearest(path: Path) -> Path:
    """The path, or the nearest of its parents that is there: what is not there will be made below it."""
    return next((place for place in (path, *path.parents) if place.exists()), path)


def check_places(
    places: Sequence[Place], reports: Mapping[str, NodeReport], checkpoint_bytes: int
) -> list[Finding]:
    """Whether each can be written, from the driver and from the nodes that answered, and has room.

    Args:
        places: The run's folders, as the driver found them.
        reports: Of the nodes.
        checkpoint_bytes: What all checkpoints that are kept take.
    """
    with_checkpoints = next(
        (place for place in places if place.setting == "cluster.storage_path"), next(iter(places), None)
    )
    return [_judged(place, reports, checkpoint_bytes if place is with_checkpoints else 0) for place in places]


def _judged(place: Place, reports: Mapping[str, NodeReport], needed: int) -> Finding:
    name = place.setting
    if place.problem:
        return Finding(
            name, False, f"{place.wanted} cannot be written ({place.problem})", f"give another {name}"
        )
    if place.everywhere:
        for node, report in reports.items():
            if problem := report.folders.get(place.folder):
                return Finding(
                    name,
                    False,
                    f"{place.wanted} {problem}, seen from node {node}",
                    f"set {name} to a folder or a bucket that all nodes share",
                )
    nodes = len(reports) if place.everywhere else 0
    told = f"{place.wanted} can be written" + (
        f", from {nodes} node{'s' * (nodes != 1)} too" if nodes else ""
    )
    if is_uri(place.folder):
        return Finding(name, True, told)
    free = shutil.disk_usage(place.folder).free
    told += f"; {in_bytes(free)} free"
    if not needed:
        return Finding(name, True, told)
    told += f", checkpoints take about {in_bytes(needed)}"
    if free < needed:
        return Finding(name, False, told, "make room, lower cluster.keep_checkpoints, or give another folder")
    return Finding(name, True, told)


def checkpoint_bytes(parameters: int, keep: int) -> int:
    """What a run's checkpoints take: the newest, the best, and the one that is being written.

    Args:
        parameters: Of the model; the moments of frozen ones are not kept, and counted all the same.
        keep: Newest checkpoints that are kept.
    """
    return BYTES_PER_PARAMETER * parameters * (keep + 2)
