"""A Parquet file in blocks: consecutive rows that one task reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import first_line

# Rows of a block: enough to keep a fast tokenizer busy, few enough to share a small split among processes.
READ_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class ParquetRows:
    """Consecutive rows of a Parquet file."""

    path: str
    first_row: int
    rows: int

    @property
    def origin(self) -> str:
        return self.path

    def read(self) -> pa.Table:
        """Reads the row groups that these rows touch."""
        groups: list[int] = []
        group_start = skip = 0
        with whole_parquet(self.path) as file:
            for index in range(file.num_row_groups):
                group_end = group_start + file.metadata.row_group(index).num_rows
                if group_start < self.first_row + self.rows and group_end > self.first_row:
                    if not groups:
                        skip = self.first_row - group_start
                    groups.append(index)
                group_start = group_end
            return file.read_row_groups(groups).slice(skip, self.rows)


def spans(group_rows: Sequence[int]) -> list[tuple[int, int]]:
    """Cuts a file into (first row, rows) of about `READ_BLOCK_ROWS`, along its row groups where they are small.

    A slice of a row group costs the reading of all of it, so a huge group is cut into 16 at most.
    """
    cuts: list[tuple[int, int]] = []
    start = pending = 0
    for rows in group_rows:
        if pending and pending + rows > READ_BLOCK_ROWS:
            cuts.append((start, pending))
            start, pending = start + pending, 0
        if rows <= READ_BLOCK_ROWS:
            pending += rows
            continue
        step = max(READ_BLOCK_ROWS, -(-rows // 16))
        cuts.extend((start + first, min(step, rows - first)) for first in range(0, rows, step))
        start += rows
    if pending:
        cuts.append((start, pending))
    return cuts


@contextlib.contextmanager
def whole_parquet(path: str) -> Iterator[pq.ParquetFile]:
    """Opens a file; whatever goes wrong with it becomes a ValueError that names it."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as Parquet ({first_line(error)}): "
            "it is corrupt or cut short, fetch it again"
        ) from error
