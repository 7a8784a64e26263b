"""The interface of a source, and the blocks that its rows are read in.

Ray Data pickles blocks and reads them in other processes. This package imports nothing of the model, because
that import would cost each process seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from pipeline.tasks.base import Task

# Rows of a block: enough to keep a fast tokenizer busy, few enough to share a small split among processes.
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Block:
    """A slice of a split's rows that one Ray task reads. Picklable.

    Attributes:
        first_row: Index of the first row in the split.
        origin: File or data set, for error messages.
        read: Returns the rows; raises ValueError where they cannot be read.
    """

    first_row: int
    rows: int
    origin: str
    read: Callable[[], pa.Table]


class Source(Protocol):
    """A provider of tasks' rows. Every method raises ValueError for a task that the source does not have."""

    def check(self, task: Task) -> None:
        """Checks for the task without reading rows or fetching anything."""

    def splits(self, task: Task) -> tuple[str, ...]:
        """Returns the names of the splits that exist."""

    def blocks(self, task: Task, split: str) -> list[Block]:
        """Returns blocks of all rows in order; none for an empty split."""

    def fingerprint(self, task: Task) -> str:
        """Returns a hash that changes when the rows of the task's splits change."""


def row_ranges(rows: int, step: int) -> list[tuple[int, int]]:
    """Cuts `rows` rows into (first row, rows) of `step` rows; the last range may be shorter."""
    return [(first, min(step, rows - first)) for first in range(0, rows, step)]


def used_splits(task: Task, present: Sequence[str]) -> tuple[str, ...]:
    """Returns the training split, then the evaluation splits that are present.

    Raises:
        ValueError: The training split or every evaluation split is absent.
    """
    evals = tuple(split for split, _ in task.eval_splits if split in present)
    if task.train_split not in present or not evals:
        missing = task.train_split if task.train_split not in present else task.eval_splits[0][0]
        raise ValueError(
            f"task {task.name!r}: {task.dataset}/{task.config} has no split {missing!r} "
            f"(found: {', '.join(present) or 'none'}): add it or change the task's splits"
        )
    return (task.train_split, *evals)


def content_hash(path: str) -> str:
    """Returns the SHA-256 of a file; raises ValueError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check the path") from error


def json_hash(value: object) -> str:
    """Returns the SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
