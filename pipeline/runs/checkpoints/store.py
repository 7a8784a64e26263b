"""The checkpoints of a run in a local folder or a bucket (`s3://…`).

    <root>/attempt-001/step-000000100-5f0c2a9e/   a checkpoint, complete once its manifest and all files are present
    <root>/scores/step-000000100-5f0c2a9e.json    scores that were computed after it was saved

Every start of the run by a driver is an attempt with its own folder, so Ray Train's notes about an earlier attempt
cannot block a later one. The store lists files to find checkpoints; it keeps no index that could be missing.
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
from pipeline.runs.checkpoints.checkpoint import (
    MANIFEST,
    NOT_EVALUATED,
    DamagedCheckpointError,
    find_size_problem,
    verify,
)
from pipeline.runs.checkpoints.storage import open_filesystem

SCORES = "scores"
_NAME = re.compile(r"step-(\d{9,})-[0-9a-f]{8}")


def checkpoint_name(step: int) -> str:
    """A unique name for a checkpoint of this step: a resumed run may save the same step again."""
    return f"step-{step:09d}-{uuid.uuid4().hex[:8]}"


def step_of(name: str) -> int:
    """The step in a checkpoint's name."""
    return int(name.split("-")[1])


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint in the store.

    Attributes:
        path: path of its folder `name` in the store's file system.
        metrics: metrics that were reported with it, updated by late scores.
        problem: what the file listing shows to be wrong; empty for a complete checkpoint.
    """

    name: str
    path: str
    step: int
    metrics: Mapping[str, Any] = field(repr=False)
    problem: str = ""

    @property
    def average(self) -> float:
        """Mean score; `NOT_EVALUATED` where it has none (yet)."""
        return float(self.metrics["average"])


class CheckpointStore:
    """The checkpoints of one run. Picklable, cheap to construct."""

    def __init__(self, root: str) -> None:
        """`root`: local folder or URI; it may not exist yet."""
        self.root = root
        self._fs, self._path = open_filesystem(root)

    def __reduce__(self) -> tuple[Any, ...]:
        return CheckpointStore, (self.root,)

    def new_attempt(self) -> str:
        """Name of the next attempt's folder."""
        names = [info.base_name for info in self._list()]
        numbers = [int(name[8:]) for name in names if re.fullmatch(r"attempt-\d+", name)]
        return f"attempt-{max(numbers, default=0) + 1:03d}"

    def checkpoints(self) -> list[StoredCheckpoint]:
        """All checkpoints whose files have the sizes in the manifest, in the order of steps, then of attempts."""
        return [stored for stored in self._sealed() if not stored.problem]

    def _sealed(self) -> list[StoredCheckpoint]:
        """All checkpoints with a manifest, damaged ones too, in the same order."""
        sizes: dict[str, dict[str, int]] = {}  # {folder: {file: bytes}}
        for info in self._list(recursive=True):
            if info.type == FileType.File and (match := _NAME.search(info.path)):
                sizes.setdefault(info.path[: match.end()], {})[info.path[match.end() + 1 :]] = info.size
        late = self.late_scores()
        sealed = [self._inspect(folder, files, late) for folder, files in sizes.items() if MANIFEST in files]
        return sorted(sealed, key=lambda stored: (stored.step, stored.path))

    def _inspect(
        self, folder: str, sizes: Mapping[str, int], late: Mapping[str, Mapping[str, Any]]
    ) -> StoredCheckpoint:
        name = folder.rpartition("/")[2]
        try:
            manifest = json.loads(self._read(f"{folder}/{MANIFEST}"))
            metrics = {**manifest["metrics"], **late.get(name, {})}
            problem = find_size_problem(manifest["files"], sizes)
            return StoredCheckpoint(name, folder, int(metrics["step"]), metrics, problem)
        except (OSError, ValueError, KeyError, TypeError):
            metrics, problem = {"average": NOT_EVALUATED}, f"its {MANIFEST} cannot be read"
            return StoredCheckpoint(name, folder, step_of(name), metrics, problem)

    def best(self) -> StoredCheckpoint | None:
        """The checkpoint with the highest average; of equal ones the earliest step, in its latest attempt."""
        return _best(self.checkpoints())

    @contextlib.contextmanager
    def open_verified(self, stored: StoredCheckpoint) -> Iterator[Path]:
        """Yields a local folder with the checkpoint, every file verified (see `verify`)."""
        # The processes of a node share one copy of a bucket's checkpoint; the last one to leave removes it.
        with self.as_checkpoint(stored).as_directory() as folder:
            verify(Path(folder))
            yield Path(folder)

    def as_checkpoint(self, stored: StoredCheckpoint) -> Checkpoint:
        """The checkpoint as Ray Train's class."""
        return Checkpoint(stored.path, self._fs)

    def newest_intact(self, up_to: int, warn: Callable[[str], None]) -> StoredCheckpoint | None:
        """The newest verified checkpoint of a step of at most `up_to`: records of later steps were lost.

        `warn` receives a line for each damaged checkpoint that is skipped.
        """
        for stored in reversed(self._sealed()):
            if stored.step > up_to:
                continue
            try:
                if stored.problem:
                    raise DamagedCheckpointError(stored.problem)
                with self.open_verified(stored):
                    return stored
            except (DamagedCheckpointError, OSError) as error:
                warn(f"checkpoint {stored.name} is damaged ({first_line(error)}): using the previous one")
        return None

    @contextlib.contextmanager
    def create(self, name: str, attempt: str) -> Iterator[Path]:
        """Yields an empty folder of a local store; it gets the checkpoint's name when the block ends without error."""
        target = Path(self._path) / attempt / name
        folder = target.with_name(f".writing-{name}")
        folder.mkdir(parents=True)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        os.replace(folder, target)

    def prune(self, keep: int, newest: str = "") -> None:
        """Removes all checkpoints but the last `keep`, the best one, and those that await scores.

        `newest` names the checkpoint that was just stored. If it is complete, damaged ones up to its step are removed
        too: uploads finish in step order, so none of these can still be in progress.
        """
        sealed = self._sealed()
        intact = [stored for stored in sealed if not stored.problem]
        uploaded = max((stored.step for stored in intact if stored.name == newest), default=-1)
        waiting = [one for one in intact if one.metrics.get("to_evaluate") and one.average == NOT_EVALUATED]
        kept = {stored.name for stored in [*intact[-keep:], _best(intact), *waiting] if stored}
        for stored in sealed:
            removable = stored.step <= uploaded if stored.problem else stored.name not in kept
            if removable:
                with contextlib.suppress(OSError):  # without its manifest, the rest is no checkpoint
                    self._fs.delete_file(f"{stored.path}/{MANIFEST}")
                    self._fs.delete_dir(stored.path)

    def clear_fragments(self, attempt: str) -> None:
        """Removes unfinished checkpoints of other attempts, which no process writes any more.

        A folder with a manifest stays, even if damaged: `newest_intact` reports the damage.
        """
        sealed = {stored.path for stored in self._sealed()}
        for info in self._list(recursive=True):
            is_checkpoint = info.type == FileType.Directory and (
                _NAME.fullmatch(info.base_name) or info.base_name.startswith(".writing-")
            )
            if is_checkpoint and info.path not in sealed and f"/{attempt}/" not in info.path:
                with contextlib.suppress(OSError):
                    self._fs.delete_dir(info.path)

    def put_scores(self, name: str, scores: Mapping[str, Any]) -> None:
        """Stores late scores of a checkpoint: {"average": float, "scores": {"tasks": …}}."""
        folder = f"{self._path}/{SCORES}"
        self._fs.create_dir(folder)
        with self._fs.open_output_stream(f"{folder}/.{name}") as stream:
            stream.write(json.dumps(dict(scores)).encode())
        self._fs.move(f"{folder}/.{name}", f"{folder}/{name}.json")

    def late_scores(self) -> dict[str, dict[str, Any]]:
        """{checkpoint name: scores of `put_scores`}."""
        return {
            info.base_name.removesuffix(".json"): json.loads(self._read(info.path))
            for info in self._list(f"/{SCORES}")
            if info.base_name.endswith(".json")
        }

    def _list(self, folder: str = "", *, recursive: bool = False) -> list[FileInfo]:
        selector = FileSelector(self._path + folder, allow_not_found=True, recursive=recursive)
        return self._fs.get_file_info(selector)

    def _read(self, path: str) -> bytes:
        with self._fs.open_input_stream(path) as stream:
            return stream.read()


def _best(checkpoints: Sequence[StoredCheckpoint]) -> StoredCheckpoint | None:
    scored = [stored for stored in checkpoints if stored.average > NOT_EVALUATED]
    # A step is saved again if its checkpoint was damaged, which sizes may not show: the later copy counts.
    return max(scored, key=lambda stored: (stored.average, -stored.step, stored.path), default=None)
