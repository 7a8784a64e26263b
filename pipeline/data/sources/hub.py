"""Rows of the Hub's data sets, read through `datasets`."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.compat import dataset_fingerprint
from pipeline.data.sources.base import BLOCK_ROWS, Block, json_hash, row_ranges, used_splits
from pipeline.errors import first_line

if TYPE_CHECKING:
    from pipeline.tasks.base import HubSubset, Task

# The Hub converts script-based data sets to Parquet on this branch; `datasets` no longer runs scripts.
PARQUET_EXPORT = "refs/convert/parquet"


class HubSource:
    """`datasets.load_dataset(<hub id>, <config>)`; a local folder may stand in for the id."""

    def check(self, task: Task) -> None:
        if task.dataset == "embedded":
            raise ValueError(f"task {task.name!r} is not on the Hub: set the data source to 'embedded'")

    def splits(self, task: Task) -> tuple[str, ...]:
        self.check(task)
        return tuple(_splits_of(task))

    def blocks(self, task: Task, split: str) -> list[Block]:
        read = functools.partial(_read, (task.dataset, task.config, task.hub_subset), split)
        return [
            Block(first, rows, f"{task.dataset}/{task.config}/{split}", functools.partial(read, first, rows))
            for first, rows in row_ranges(_splits_of(task)[split].num_rows, BLOCK_ROWS)
        ]

    def fingerprint(self, task: Task) -> str:
        splits = _splits_of(task)
        used = used_splits(task, tuple(splits))
        return json_hash([(split, dataset_fingerprint(splits[split])) for split in used])


def _splits_of(task: Task) -> dict[str, Any]:
    return _load_splits(task.dataset, task.config, task.hub_subset)


def _read(address: tuple[str, str, HubSubset | None], split: str, first_row: int, rows: int) -> pa.Table:
    """Reads rows of a split. Every machine keeps a copy of the data set in the cache of `datasets`."""
    table: pa.Table = _load_splits(*address)[split].with_format("arrow")[first_row : first_row + rows]
    return table


@functools.lru_cache(maxsize=16)
def _load_splits(dataset: str, config: str, subset: HubSubset | None = None) -> dict[str, Any]:
    """Returns {split: `datasets.Dataset`}; of a subset, the splits that have rows of it."""
    import datasets

    if subset is not None:
        splits = _load_splits(dataset, subset.config)
        selected = {name: _rows_with(rows, subset.column, subset.value) for name, rows in splits.items()}
        return {name: rows for name, rows in selected.items() if rows.num_rows}
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        try:
            return dict(datasets.load_dataset(dataset, config))
        except RuntimeError as error:
            if "scripts are no longer supported" not in str(error):
                raise
            return dict(datasets.load_dataset(dataset, data_dir=config, revision=PARQUET_EXPORT))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"{dataset} ({config}) could not be loaded from the Hub ({first_line(error)}): "
            "check the name and the network, or give a folder as the data source"
        ) from error


def _rows_with(rows: Any, column: str, value: str) -> Any:
    """Selects the rows of a `datasets.Dataset` that have a value in a column."""
    if column not in rows.column_names:
        raise ValueError(f"the Hub's rows have no column {column!r} (found: {', '.join(rows.column_names)})")
    return rows.select(np.flatnonzero(pc.equal(rows.data.column(column), value).to_numpy()))
