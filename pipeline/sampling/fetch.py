"""Planned rows out of prepared sets, in memory or on disk: what Ray Data's tasks run.

This file and what it imports stay free of torch, whose import would cost a task more than its work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.data.preparation.prepared import PreparedSplit, whole

Ints = NDArray[np.int64]


class Rows(Protocol):
    """A prepared set: a `pa.Table` in memory, or `RowGroups`."""

    def take(self, indices: pa.Array) -> pa.Table:
        """The rows of these numbers, in this order."""


@dataclass(frozen=True)
class RowGroups:
    """A prepared split that stays on disk: of its rows, the row groups are read that they lie in.

    At most one row group is held beside the rows asked for, however large the set is.

    Attributes:
        files: in order.
        ends: rows up to the end of each file.
    """

    files: tuple[str, ...]
    ends: tuple[int, ...]

    @staticmethod
    def of(split: PreparedSplit) -> RowGroups:
        """A split's rows."""
        return RowGroups(split.files, tuple(accumulate(split.file_rows)))

    def take(self, indices: pa.Array) -> pa.Table:
        """The rows of these numbers, in this order.

        Raises:
            ValueError: a file is corrupt, cut short or not there.
        """
        rows, place = np.unique(indices.to_numpy(), return_inverse=True)
        file_of = np.searchsorted(self.ends, rows, side="right")
        parts = []
        for number in np.unique(file_of).tolist():
            first = self.ends[number - 1] if number else 0
            parts += _read_rows(self.files[number], rows[file_of == number] - first)
        return pa.concat_tables(parts).take(pa.array(place))


def _read_rows(path: str, rows: Ints) -> list[pa.Table]:
    """Rows of a file, ascending, a table for each of their row groups."""
    with whole(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
        ends = np.cumsum(sizes)
        group_of = np.searchsorted(ends, rows, side="right")
        return [
            file.read_row_group(group, use_threads=False).take(
                pa.array(rows[group_of == group] - (ends[group] - sizes[group]))
            )
            for group in np.unique(group_of).tolist()
        ]


def fetch_rows(sets: Mapping[int, Rows], task: Ints, row: Ints) -> pa.Table:
    """Rows out of prepared sets, in the order asked for.

    Args:
        sets: prepared set of each task id that occurs.
        task, row: what to fetch, [n].

    Returns:
        The prepared columns and `task`, n rows.
    """
    parts, places = [], []
    for task_id in np.unique(task):
        wanted = np.flatnonzero(task == task_id)
        part = sets[int(task_id)].take(pa.array(row[wanted]))
        parts.append(part.append_column("task", pa.array(np.full(len(wanted), task_id))))
        places.append(wanted)
    order = np.argsort(np.concatenate(places), kind="stable")
    return pa.concat_tables(parts).take(pa.array(order))
