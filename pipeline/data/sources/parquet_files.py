"""Blocks of Parquet files, and the source that is a folder of such files laid out like the Hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.sources.base import BLOCK_ROWS, Block, content_hash, json_hash, row_ranges, used_splits
from pipeline.errors import first_line

if TYPE_CHECKING:
    from pipeline.tasks.base import Task


class FolderSource:
    """`<folder>/<hub id>/<config>/<split>.parquet`, with the Hub's columns."""

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


def parquet_blocks(path: str) -> list[Block]:
    """Returns blocks of all rows in order; raises ValueError where the file cannot be read."""
    with open_parquet(path) as file:
        ranges = block_ranges(_group_rows(file))
    return [Block(first, rows, path, partial(_read, path, first, rows)) for first, rows in ranges]


def block_ranges(group_rows: Sequence[int]) -> list[tuple[int, int]]:
    """Cuts a file into (first row, rows) of about `BLOCK_ROWS`; small row groups stay intact.

    A slice of a row group costs the reading of all of it, so a huge group is cut into 16 at most.
    """
    ranges: list[tuple[int, int]] = []
    start = pending = 0
    for rows in group_rows:
        if pending and pending + rows > BLOCK_ROWS:
            ranges.append((start, pending))
            start, pending = start + pending, 0
        if rows <= BLOCK_ROWS:
            pending += rows
            continue
        step = max(BLOCK_ROWS, -(-rows // 16))
        ranges += [(start + first, count) for first, count in row_ranges(rows, step)]
        start += rows
    return [*ranges, (start, pending)] if pending else ranges


@contextlib.contextmanager
def open_parquet(path: str) -> Iterator[pq.ParquetFile]:
    """Opens a file; errors of opening and reading become a ValueError that names it."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as Parquet ({first_line(error)}): "
            "it is corrupt or cut short, fetch it again"
        ) from error


def _read(path: str, first_row: int, rows: int) -> pa.Table:
    """Reads the row groups that these rows are in."""
    with open_parquet(path) as file:
        ends = np.cumsum(_group_rows(file))
        first, last = np.searchsorted(ends, first_row, "right"), np.searchsorted(ends, first_row + rows)
        skip = first_row - (int(ends[first - 1]) if first else 0)
        return file.read_row_groups(range(file.num_row_groups)[first : last + 1]).slice(skip, rows)


def _group_rows(file: pq.ParquetFile) -> list[int]:
    return [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
