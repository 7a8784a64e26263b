"""Where a run's checkpoints lie: a folder, or a bucket that PyArrow reaches (`s3://…`).

    <root>/attempt-001/step-000000100-5f0c2a9e/   a checkpoint, whole once its manifest and all files are there
    <root>/scores/step-000000100-5f0c2a9e.json    scores that came after it was saved

Every start of the run by a driver is an attempt with a folder of its own, so that nothing that Ray Train
notes down about an earlier one can hold up the next. What is to be used is found by looking at what lies
there, never by a list that might not have been written.
"""

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow.fs import FileInfo, FileSelector, FileType
from ray.train import Checkpoint

from pipeline.errors import first_line
from pipeline.runs.checkpoints.checkpoint import MANIFEST, NOT_EVALUATED, DamagedCheckpointError, verify
from pipeline.runs.checkpoints.storage import open_filesystem

SCORES = "scores"
_NAME = re.compile(r"step-(\d{9,})-[0-9a-f]{8}")


def checkpoint_name(step: int) -> str:
    """A name for the checkpoint of a step, another one each time: a step may be saved again by a resumed run."""
    return f"step-{step:09d}-{uuid.uuid4().hex[:8]}"


def step_of(name: str) -> int:
    """The step in a checkpoint's name."""
    return int(name.split("-")[1])


@dataclass(frozen=True)
class StoredCheckpoint:
    """A whole checkpoint in the store.

    Attributes:
        name: of its folder.
        path: of its folder, in the store's file system.
        step: after which it was saved.
        metrics: what was reported with it, and the scores that came later.
    """

    name: str
    path: str
    step: int
    metrics: Mapping[str, Any] = field(repr=False)

    @property
    def average(self) -> float:
        """Mean score; `NOT_EVALUATED` where it has none (yet)."""
        return float(self.metrics["average"])

    @property
    def awaits_scores(self) -> bool:
        """Whether it is to be evaluated, and has not been."""
        return bool(self.metrics.get("to_evaluate")) and self.average == NOT_EVALUATED


class CheckpointStore:
    """The checkpoints of one run. Picklable, and cheap to make anywhere."""

    def __init__(self, root: str) -> None:
        """`root`: local folder or URI; it need not be there yet."""
        self.root = root
        self._fs, self._path = open_filesystem(root)

    def __reduce__(self) -> tuple[Any, ...]:
        return CheckpointStore, (self.root,)

    def new_attempt(self) -> str:
        """Name of the next attempt's folder."""
        found = [info.base_name for info in self._fs.get_file_info(self._below())]
        numbers = [int(name[8:]) for name in found if re.fullmatch(r"attempt-\d+", name)]
        return f"attempt-{max(numbers, default=0) + 1:03d}"

    def checkpoints(self) -> list[StoredCheckpoint]:
        """All whole ones, judged by the sizes of their files, by step; of equal steps the later attempt's last."""
        return [stored for stored, problem in self._sealed() if not problem]

    def _sealed(self) -> list[tuple[StoredCheckpoint, str]]:
        """All that have a manifest, by step, each with what is seen to be wrong with it at a glance."""
        files: dict[str, dict[str, FileInfo]] = {}
        for info in self._fs.get_file_info(self._below(recursive=True)):
            if info.type == FileType.File and (match := _NAME.search(info.path)):
                folder = info.path[: match.end()]
                files.setdefault(folder, {})[info.path[match.end() + 1 :]] = info
        late = self.late_scores()
        found = [
            self._judged(folder, there, late.get(folder.rpartition("/")[2], {}))
            for folder, there in files.items()
            if MANIFEST in there
        ]
        return sorted(found, key=lambda judged: (judged[0].step, judged[0].path))

    def _judged(
        self, folder: str, there: Mapping[str, FileInfo], late: Mapping[str, Any]
    ) -> tuple[StoredCheckpoint, str]:
        name = folder.rpartition("/")[2]
        try:
            told = json.loads(self._read(f"{folder}/{MANIFEST}"))
            sizes = {file: told["files"][file]["bytes"] for file in told["files"]}
            stored = StoredCheckpoint(name, folder, int(told["metrics"]["step"]), {**told["metrics"], **late})
        except (OSError, ValueError, KeyError, TypeError):
            return StoredCheckpoint(
                name, folder, step_of(name), {"average": NOT_EVALUATED}
            ), f"its {MANIFEST} cannot be read"
        for file, size in sizes.items():
            if file not in there:
                return stored, f"{file} is missing"
            if there[file].size != size:
                return stored, f"{file} has {there[file].size} of {size} bytes"
        return stored, ""

    def best(self) -> StoredCheckpoint | None:
        """The one of the highest average; of equals the earliest."""
        return _best(self.checkpoints())

    @contextlib.contextmanager
    def local(self, stored: StoredCheckpoint) -> Iterator[Path]:
        """Its folder on this machine, read through and found to be what was saved.

        Raises:
            DamagedCheckpointError: it is not.
        """
        # A copy from a bucket is shared by the processes of a node, and removed when the last one leaves.
        with self.as_checkpoint(stored).as_directory() as folder:
            verify(Path(folder))
            yield Path(folder)

    def as_checkpoint(self, stored: StoredCheckpoint) -> Checkpoint:
        """The same for Ray Train."""
        return Checkpoint(stored.path, self._fs)

    def newest_intact(self, up_to: int, tell: Callable[[str], None]) -> StoredCheckpoint | None:
        """The newest checkpoint that is what was saved; damaged ones are told of and passed over.

        Args:
            up_to: later steps are left alone (their records were lost).
            tell: takes a line for each damaged one.
        """
        for stored, problem in reversed(self._sealed()):
            if stored.step > up_to:
                continue
            try:
                if problem:
                    raise DamagedCheckpointError(problem)
                with self.local(stored):
                    return stored
            except (DamagedCheckpointError, OSError) as error:
                tell(
                    f"checkpoint {stored.name} is damaged ({first_line(error)}): going back to the one before"
                )
        return None

    @contextlib.contextmanager
    def writing(self, name: str, attempt: str) -> Iterator[Path]:
        """An empty folder of a local store for a checkpoint, which has its name only once it is whole."""
        place = Path(self._path) / attempt / name
        folder = place.with_name(f".writing-{name}")
        folder.mkdir(parents=True)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        os.replace(folder, place)

    def prune(self, keep: int, newest: str = "") -> None:
        """Remove all but the last `keep`, the best, and those that still wait for their scores.

        Args:
            keep: how many of the last ones stay.
            newest: name of a checkpoint that has just been stored. If it is whole, damaged ones of its step and
                those before go too: nobody goes back to them, and none is being copied, as copies are made in
                the order of steps.
        """
        sealed = self._sealed()
        found = [stored for stored, problem in sealed if not problem]
        behind = max((stored.step for stored in found if stored.name == newest), default=-1)
        for stored, problem in sealed:
            if problem and stored.step <= behind:
                self._remove(stored)
        kept = {stored.name for stored in found[-keep:]} | {s.name for s in found if s.awaits_scores}
        if best := _best(found):
            kept.add(best.name)
        for stored in found:
            if stored.name not in kept:
                self._remove(stored)

    def _remove(self, stored: StoredCheckpoint) -> None:
        with contextlib.suppress(OSError):  # the manifest goes first: what is left is no checkpoint
            self._fs.delete_file(f"{stored.path}/{MANIFEST}")
            self._fs.delete_dir(stored.path)

    def clear_fragments(self, attempt: str) -> None:
        """Remove what earlier attempts left half written; nobody writes in them any more.

        What has a manifest stays, damaged or not: whoever goes on tells of the damage.
        """
        sealed = {stored.path for stored, _ in self._sealed()}
        for info in self._fs.get_file_info(self._below(recursive=True)):
            folder = info.path
            is_one = info.type == FileType.Directory and (
                _NAME.fullmatch(info.base_name) or info.base_name.startswith(".writing-")
            )
            if is_one and folder not in sealed and f"/{attempt}/" not in folder:
                with contextlib.suppress(OSError):
                    self._fs.delete_dir(folder)

    def put_scores(self, name: str, scores: Mapping[str, Any]) -> None:
        """Note the scores of a checkpoint: {"average": float, "scores": {"tasks": …}}."""
        self._fs.create_dir(f"{self._path}/{SCORES}")
        target, writing = f"{self._path}/{SCORES}/{name}.json", f"{self._path}/{SCORES}/.{name}"
        with self._fs.open_output_stream(writing) as stream:
            stream.write(json.dumps(dict(scores)).encode())
        self._fs.move(writing, target)

    def late_scores(self) -> dict[str, dict[str, Any]]:
        """{name: what `put_scores` noted}."""
        selector = FileSelector(f"{self._path}/{SCORES}", allow_not_found=True)
        return {
            info.base_name.removesuffix(".json"): json.loads(self._read(info.path))
            for info in self._fs.get_file_info(selector)
            if info.base_name.endswith(".json")
        }

    def _below(self, *, recursive: bool = False) -> FileSelector:
        return FileSelector(self._path, allow_not_found=True, recursive=recursive)

    def _read(self, path: str) -> bytes:
        with self._fs.open_input_stream(path) as stream:
            content: bytes = stream.read()
        return content


def _best(found: Sequence[StoredCheckpoint]) -> StoredCheckpoint | None:
    scored = [stored for stored in found if stored.average > NOT_EVALUATED]
    return max(scored, key=lambda stored: (stored.average, -stored.step), default=None)
