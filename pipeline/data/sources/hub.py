"""Rows of the Hub's data sets, read through `datasets`."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.compat import dataset_fingerprint
from pipeline.data.sources.base import Block, used_splits
from pipeline.data.sources.parquet_files import READ_BLOCK_ROWS
from pipeline.errors import first_line

if TYPE_CHECKING:
    from pipeline.tasks.base import HubSubset, Task

# The branch where the Hub keeps, as Parquet, what scripts make; `datasets` itself no longer runs them.
PARQUET_EXPORT = "refs/convert/parquet"


@dataclass(frozen=True)
class HubRows:
    """Consecutive rows of a Hub data set; every machine keeps its own copy in the cache of `datasets`."""

    dataset: str
    config: str
    subset: HubSubset | None
    split: str
    first_row: int
    rows: int

    @property
    def origin(self) -> str:
        return f"{self.dataset}/{self.config}/{self.split}"

    def read(self) -> pa.Table:
        rows = _hub_splits(self.dataset, self.config, self.subset)[self.split].with_format("arrow")
        table: pa.Table = rows[self.first_row : self.first_row + self.rows]
        return table


class HubSource:
    """`datasets.load_dataset(<hub id>, <config>)`, or any folder that it takes in the id's place."""

    def check(self, task: Task) -> None:
        if task.dataset == "embedded":
            raise ValueError(
                f"task {task.name!r} is embedded and not on the Hub: set the data source to 'embedded'"
            )

    def splits(self, task: Task) -> tuple[str, ...]:
        self.check(task)
        return tuple(_splits_of(task))

    def blocks(self, task: Task, split: str) -> list[Block]:
        rows = _splits_of(task)[split].num_rows
        return [
            HubRows(
                task.dataset, task.config, task.hub_subset, split, first, min(READ_BLOCK_ROWS, rows - first)
            )
            for first in range(0, rows, READ_BLOCK_ROWS)
        ]

    def fingerprint(self, task: Task) -> str:
        splits = _splits_of(task)
        used = [(split, dataset_fingerprint(splits[split])) for split in used_splits(task, tuple(splits))]
        return hashlib.sha256(json.dumps(used).encode()).hexdigest()


def _splits_of(task: Task) -> dict[str, Any]:
    return _hub_splits(task.dataset, task.config, task.hub_subset)


@functools.lru_cache(maxsize=16)
def _hub_splits(dataset: str, config: str, subset: HubSubset | None = None) -> dict[str, Any]:
    import datasets

    if subset is not None:
        splits = _hub_splits(dataset, subset.config)
        found = {name: _rows_with(rows, subset.column, subset.value) for name, rows in splits.items()}
        return {name: rows for name, rows in found.items() if rows.num_rows}
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        return _load(dataset, config)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"{dataset} ({config}) could not be loaded from the Hub ({first_line(error)}): "
            "check the name and the network, or give a folder as the data source"
        ) from error


def _load(dataset: str, config: str) -> dict[str, Any]:
    import datasets

    try:
        return dict(datasets.load_dataset(dataset, config))
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        return dict(datasets.load_dataset(dataset, data_dir=config, revision=PARQUET_EXPORT))


def _rows_with(rows: Any, column: str, value: str) -> Any:
    """The rows of a `datasets.Dataset` that have a value in a column."""
    if column not in rows.column_names:
        raise ValueError(f"the Hub's rows have no column {column!r} (found: {', '.join(rows.column_names)})")
    return rows.select(np.flatnonzero(pc.equal(rows.data.column(column), value).to_numpy()))
