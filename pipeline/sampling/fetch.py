"""Reads planned rows out of prepared splits, in memory or on disk: what Ray Data's tasks run.

This file and its imports stay free of torch, whose import takes longer than a task's work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
import pyarrow as pa

from pipeline.data.preparation.prepared import PreparedSplit, open_prepared, read_table
from pipeline.sampling.arrays import Ints


class RowSet(Protocol):
    """The training rows of a task: a `pa.Table` in memory, or `RowGroups` on disk."""

    def take(self, indices: pa.Array) -> pa.Table:
        """The rows at these indices, in this order."""


@dataclass(frozen=True)
class RowGroups:
    """A prepared split on disk. It reads only the row groups of the requested rows, one at a time."""

    files: tuple[str, ...]
    ends: tuple[int, ...]  # index after the last row of each file

    @staticmethod
    def of(split: PreparedSplit) -> RowGroups:
        """The rows of a split."""
        return RowGroups(split.files, tuple(accumulate(split.file_rows)))

    def take(self, indices: pa.Array) -> pa.Table:
        """The rows at these indices, in this order.

        Raises:
            ValueError: a file is missing, corrupt or truncated.
        """
        rows, order = np.unique(indices.to_numpy(), return_inverse=True)
        parts = [
            part for file, inside in _split(rows, self.ends) for part in _read_rows(self.files[file], inside)
        ]
        return pa.concat_tables(parts).take(pa.array(order))


def _read_rows(path: str, rows: Ints) -> list[pa.Table]:
    """Rows of a file, ascending; one table for each of their row groups."""
    with open_prepared(path) as file:
        sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
        return [
            file.read_row_group(group, use_threads=False).take(pa.array(inside))
            for group, inside in _split(rows, list(accumulate(sizes)))
        ]


def _split(rows: Ints, ends: Sequence[int]) -> Iterator[tuple[int, Ints]]:
    """Yields (part, indices in the part) of ascending rows; `ends` are the indices after each part's last row."""
    part_of_row = np.searchsorted(ends, rows, side="right")
    for part in np.unique(part_of_row).tolist():
        yield part, rows[part_of_row == part] - (ends[part - 1] if part else 0)


def fetch_rows(row_sets: Mapping[int, RowSet], task: Ints, row: Ints) -> pa.Table:
    """Reads row `row[i]` of task `task[i]` for every i, in this order: the prepared columns and `task`."""
    parts, positions = [], []
    for task_id in np.unique(task):
        wanted = np.flatnonzero(task == task_id)
        part = row_sets[int(task_id)].take(pa.array(row[wanted]))
        parts.append(part.append_column("task", pa.array(np.full(len(wanted), task_id))))
        positions.append(wanted)
    order = np.argsort(np.concatenate(positions), kind="stable")
    return pa.concat_tables(parts).take(pa.array(order))


def open_row_sets(splits: Sequence[PreparedSplit], memory_bytes: int) -> Iterator[RowSet]:
    """Loads the splits that fit into memory, and opens the others on disk.

    The choice changes no row and no order (`pipeline.sampling.row_order`), so a run may resume on machines with
    more or less memory.
    """
    fitting = fit_in_memory([split.bytes for split in splits], memory_bytes)
    for split, fits in zip(splits, fitting, strict=True):
        yield read_table(split) if fits else RowGroups.of(split)


def fit_in_memory(sizes: Sequence[int], memory_bytes: int) -> list[bool]:
    """Chooses the smallest splits of these `sizes` in bytes whose sum is within `memory_bytes`."""
    order = np.argsort(sizes, kind="stable")
    fits = np.empty(len(sizes), dtype=bool)
    fits[order] = np.cumsum(np.asarray(sizes, dtype=np.int64)[order]) <= memory_bytes
    return fits.tolist()
