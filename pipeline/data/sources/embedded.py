"""The embedded suite as a source: generated rows, always from the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.data.sources.base import Block, digest
from pipeline.data.sources.parquet_files import READ_BLOCK_ROWS

if TYPE_CHECKING:
    from pipeline.tasks.base import Task


@dataclass(frozen=True)
class TableRows:
    """Rows at hand. The generator would cost a reading process more than its few rows weigh."""

    table: pa.Table
    first_row: int
    rows: int
    origin: str

    def read(self) -> pa.Table:
        return self.table


class EmbeddedSource:
    """The suite that the project generates, always from the same seed."""

    def check(self, task: Task) -> None:
        from pipeline.tasks.embedded import suite as embedded

        if task.dataset != "embedded":
            raise ValueError(
                f"task {task.name!r} is not one of the embedded suite "
                f"({', '.join(known.name for known in embedded.TASKS)}): "
                "set the data source to 'hub' or a folder"
            )

    def splits(self, task: Task) -> tuple[str, ...]:
        self.check(task)
        return (task.train_split, *(split for split, _ in task.eval_splits))

    def blocks(self, task: Task, split: str) -> list[Block]:
        table = self._table(task, split)
        return [
            TableRows(piece, first, piece.num_rows, f"{task.dataset}/{task.config}/{split}")
            for first in range(0, table.num_rows, READ_BLOCK_ROWS)
            for piece in [table.slice(first, READ_BLOCK_ROWS)]
        ]

    def fingerprint(self, task: Task) -> str:
        return digest([(split, self._table(task, split).to_pydict()) for split in self.splits(task)])

    def _table(self, task: Task, split: str) -> pa.Table:
        from pipeline.tasks.embedded import suite as embedded

        self.check(task)
        return embedded.generate(task.config, split)
