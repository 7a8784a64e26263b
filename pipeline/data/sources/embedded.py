"""The embedded suite as a source: generated rows, always from the same seed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.data.sources.base import BLOCK_ROWS, Block, json_hash, row_ranges

if TYPE_CHECKING:
    from pipeline.tasks.base import Task


class EmbeddedSource:
    """Tasks of the data set `embedded`."""

    def check(self, task: Task) -> None:
        from pipeline.tasks.embedded import suite

        if task.dataset != "embedded":
            raise ValueError(
                f"task {task.name!r} is not one of the embedded suite "
                f"({', '.join(known.name for known in suite.TASKS)}): "
                "set the data source to 'hub' or a folder"
            )

    def splits(self, task: Task) -> tuple[str, ...]:
        self.check(task)
        return (task.train_split, *(split for split, _ in task.eval_splits))

    def blocks(self, task: Task, split: str) -> list[Block]:
        table, origin = self._table(task, split), f"{task.dataset}/{task.config}/{split}"
        return [
            # A block carries its few rows, because the generator would cost the reading process more.
            Block(first, rows, origin, partial(pa.concat_tables, [table.slice(first, rows)]))
            for first, rows in row_ranges(table.num_rows, BLOCK_ROWS)
        ]

    def fingerprint(self, task: Task) -> str:
        return json_hash([(split, self._table(task, split).to_pydict()) for split in self.splits(task)])

    def _table(self, task: Task, split: str) -> pa.Table:
        from pipeline.tasks.embedded import suite

        self.check(task)
        return suite.generate(task.config, split)
