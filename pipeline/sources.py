"""Where rows come from: the Hub, a folder laid out like it, the embedded suite, or a task's own files.

A source only counts and names what there is. The reading is left to its blocks: small picklable objects
that Ray Data's tasks read wherever they run. This module stays free of the model's imports, which would
cost every one of those processes seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from pipeline.file_blocks import file_blocks, suffix_of
from pipeline.parquet_blocks import BLOCK_ROWS, ParquetRows, spans, whole_parquet

if TYPE_CHECKING:
    from pipeline.tasks.base import Task


class Block(Protocol):
    """Consecutive rows of one split."""

    @property
    def first_row(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def origin(self) -> str:
        """File or data set, as error messages name it."""

    def read(self) -> pa.Table: ...


class Source(Protocol):
    """What tasks are read from. Every method raises ValueError where the source has no such task."""

    def check(self, task: Task) -> None:
        """Looks at no row and fetches nothing: what can be told of a task before anything is begun."""

    def splits(self, task: Task) -> tuple[str, ...]:
        """Names of the splits that are there."""

    def blocks(self, task: Task, split: str) -> list[Block]:
        """The split's rows in order, none left out; empty for a split without rows."""

    def fingerprint(self, task: Task) -> str:
        """Changes when the rows of the task's splits do."""


def open_source(spec: str) -> Source:
    """The source that a setting names: `hub`, `embedded` or a folder.

    Raises:
        ValueError: It is neither of the two words nor a folder.
    """
    if spec == "hub":
        from pipeline.hub_source import HubSource

        return OwnFiles(HubSource())
    if spec == "embedded":
        return OwnFiles(EmbeddedSource())
    folder = Path(spec).expanduser().absolute()
    if not folder.is_dir():
        raise ValueError(
            f"data source {spec!r} is not a folder: give 'hub', 'embedded' or a folder laid out as "
            "<hub id>/<config>/<split>.parquet"
        )
    return OwnFiles(FolderSource(folder))


def used_splits(task: Task, present: Sequence[str]) -> tuple[str, ...]:
    """The training split, then the evaluation splits that are present.

    Raises:
        ValueError: The training split or every evaluation split is absent.
    """
    evals = tuple(split for split, _ in task.eval_splits if split in present)
    if task.train_split not in present or not evals:
        missing = task.train_split if task.train_split not in present else task.eval_splits[0][0]
        found = ", ".join(present) or "none"
        raise ValueError(
            f"task {task.name!r}: {task.dataset}/{task.config} has no split {missing!r} "
            f"(found: {found}): add it or change the task's splits"
        )
    return (task.train_split, *evals)


class OwnFiles:
    """A source for all tasks: those with files of their own are read from these, the others from `others`."""

    def __init__(self, others: Source) -> None:
        self.others = others

    def check(self, task: Task) -> None:
        if task.files:
            used_splits(task, self.splits(task))
        else:
            self.others.check(task)

    def splits(self, task: Task) -> tuple[str, ...]:
        return tuple(split for split, _ in task.files) if task.files else self.others.splits(task)

    def blocks(self, task: Task, split: str) -> list[Block]:
        return [*file_blocks(dict(task.files)[split])] if task.files else self.others.blocks(task, split)

    def fingerprint(self, task: Task) -> str:
        if not task.files:
            return self.others.fingerprint(task)
        files = dict(task.files)
        used = [files[split] for split in used_splits(task, tuple(files))]
        return _digest([(suffix_of(path), _content_hash(path)) for path in used])


class FolderSource:
    """`<folder>/<hub id>/<config>/<split>.parquet`, as the Hub's own columns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self, task: Task) -> None:
        for split in used_splits(task, self.splits(task)):
            with whole_parquet(self._path(task, split)):
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
        path = self._path(task, split)
        with whole_parquet(path) as file:
            groups = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
        return [ParquetRows(path, first, rows) for first, rows in spans(groups)]

    def fingerprint(self, task: Task) -> str:
        used = used_splits(task, self.splits(task))
        return _digest([(split, _content_hash(self._path(task, split))) for split in used])

    def _path(self, task: Task, split: str) -> str:
        return str(self.folder / task.dataset / task.config / f"{split}.parquet")


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
        from pipeline.tasks import embedded

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
            for first in range(0, table.num_rows, BLOCK_ROWS)
            for piece in [table.slice(first, BLOCK_ROWS)]
        ]

    def fingerprint(self, task: Task) -> str:
        return _digest([(split, self._table(task, split).to_pydict()) for split in self.splits(task)])

    def _table(self, task: Task, split: str) -> pa.Table:
        from pipeline.tasks import embedded

        self.check(task)
        return embedded.generate(task.config, split)


def _content_hash(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check the path") from error


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
