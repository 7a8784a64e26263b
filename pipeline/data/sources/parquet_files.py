"""Blocks of a Parquet file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.sources.base import BLOCK_ROWS, Block, row_ranges
from pipeline.errors import first_line


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
        groups = list(range(file.num_row_groups))[first : last + 1]
        skip = first_row - (int(ends[first - 1]) if first else 0)
        return file.read_row_groups(groups).slice(skip, rows)


def _group_rows(file: pq.ParquetFile) -> list[int]:
    return [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
