"""The contract of a source: it counts and names rows; its blocks read them.

Blocks are small picklable objects that Ray Data's tasks read wherever they run, so this package stays free of the
model's imports, which would cost each of those processes seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

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


def content_hash(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check the path") from error


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
