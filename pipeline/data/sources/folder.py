"""A folder laid out like the Hub: `<folder>/<hub id>/<config>/<split>.parquet`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources.base import Block, content_hash, json_hash, used_splits
from pipeline.data.sources.parquet_files import open_parquet, parquet_blocks

if TYPE_CHECKING:
    from pipeline.tasks.base import Task


class FolderSource:
    """Parquet files with the Hub's columns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self, task: Task) -> None:
        for split in used_splits(task, self.splits(task)):
            with open_parquet(self._path(task, split)):
                pass

    def splits(self, task: Task) -> tuple[str, ...]:
        directory = self.folder / task.dataset / task.config
        names = tuple(sorted(path.stem for path in directory.glob("*.parquet")))
        if not names:
            raise ValueError(
                f"task {task.name!r}: no Parquet file in {directory}: "
                "put <split>.parquet there or choose another source"
            )
        return names

    def blocks(self, task: Task, split: str) -> list[Block]:
        return parquet_blocks(self._path(task, split))

    def fingerprint(self, task: Task) -> str:
        used = used_splits(task, self.splits(task))
        return json_hash([(split, content_hash(self._path(task, split))) for split in used])

    def _path(self, task: Task, split: str) -> str:
        return str(self.folder / task.dataset / task.config / f"{split}.parquet")
