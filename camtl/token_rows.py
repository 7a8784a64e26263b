"""Tokenised rows on the host, from which batches are packed.

A row is an example of a task. It has one or more encodings: sequences of tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IntArray = NDArray[np.int64]
UNMARKED = -100
TOKEN_COLUMNS = ("input_ids", "token_type_ids", "token_marks")
ROW_COLUMNS = ("task_ids", "labels", "row_ids", "encodings")


@dataclass(frozen=True)
class TokenRows:
    """Rows of any tasks, in columns. A window of a long passage is an encoding, and so is a choice.

    Attributes:
        input_ids, token_type_ids: the tokens of all encodings in one array, int64 [tokens].
        offsets: encoding i is `input_ids[offsets[i]:offsets[i + 1]]`, int64 [encodings + 1].
        task_ids: int64 [rows].
        labels: class number, regression value or number of the right choice, float32 [rows].
        row_ids: the row's number in its task's source, int64 [rows].
        encodings: number of encodings of each row, int64 [rows]; default: one each.
        token_marks: what a head reads for single tokens, -100 for nothing, int64 [tokens]: a tag, the
            bits of a span (1 start, 2 end), the number of a marked word; default: nothing.
    """

    input_ids: IntArray
    token_type_ids: IntArray
    offsets: IntArray
    task_ids: IntArray
    labels: NDArray[np.float32]
    row_ids: IntArray
    encodings: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    token_marks: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if not len(self.encodings):
            object.__setattr__(self, "encodings", np.ones(len(self.task_ids), dtype=np.int64))
        if not len(self.token_marks):
            object.__setattr__(self, "token_marks", np.full(len(self.input_ids), UNMARKED))

    def __len__(self) -> int:
        return len(self.task_ids)

    @property
    def lengths(self) -> IntArray:
        """Number of tokens of each encoding, [encodings]."""
        return np.diff(self.offsets)

    @property
    def row_lengths(self) -> IntArray:
        """Number of tokens of each row, over all its encodings, [rows]."""
        return np.add.reduceat(self.lengths, _starts(self.encodings)) if len(self) else self.lengths

    @property
    def row_of_encoding(self) -> IntArray:
        """Row number of each encoding, [encodings]."""
        return np.repeat(np.arange(len(self)), self.encodings)

    def take(self, rows: IntArray) -> "TokenRows":
        """Returns the rows with these numbers, in this order."""
        encodings = _ranges(_starts(self.encodings)[rows], self.encodings[rows])
        lengths = self.lengths[encodings]
        tokens = _ranges(self.offsets[encodings], lengths)
        columns = {name: getattr(self, name)[tokens] for name in TOKEN_COLUMNS}
        columns |= {name: getattr(self, name)[rows] for name in ROW_COLUMNS}
        return TokenRows(offsets=np.concatenate([[0], np.cumsum(lengths)]), **columns)

    @staticmethod
    def concatenate(parts: Sequence["TokenRows"]) -> "TokenRows":
        """Returns several sets of rows as one, in order."""
        lengths = np.concatenate([part.lengths for part in parts])
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in (*TOKEN_COLUMNS, *ROW_COLUMNS)
        }
        return TokenRows(offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), **columns)

    def labels_by_task(self, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Returns the labels of every task that has rows, in row order: the model's `labels`."""
        return {
            tasks[task]: torch.from_numpy(self.labels[self.task_ids == task])
            for task in np.unique(self.task_ids)
        }


def _starts(counts: IntArray) -> IntArray:
    """First index of each of several adjacent groups of these sizes."""
    return np.cumsum(counts) - counts


def _ranges(starts: IntArray, counts: IntArray) -> IntArray:
    """Concatenates the ranges start, start + 1, …, one of each count."""
    return np.repeat(starts - _starts(counts), counts) + np.arange(counts.sum())


@dataclass(frozen=True)
class TaskRows:
    """Indices of one task's rows in a batch: n rows, e encodings of them, k marked tokens.

    Attributes:
        rows: row numbers in the batch, [n].
        encodings: encoding numbers in the batch, in row order, [e].
        row_of_encoding: index into `rows` for each encoding, [e].
        index_in_row: number of each encoding within its row, [e].
        tokens: indices of the marked tokens in the flattened batch, [k].
        marks: their marks, [k].
        row_of_token, encoding_of_token: indices into `rows` and `encodings` for each marked token, [k].
        index_in_encoding: number of each token among the marked ones of its encoding, [k].
        max_encodings: largest number of encodings in any row.
        max_tokens: largest number of marked tokens in any encoding.
    """

    rows: Tensor
    encodings: Tensor
    row_of_encoding: Tensor
    index_in_row: Tensor
    tokens: Tensor
    marks: Tensor
    row_of_token: Tensor
    encoding_of_token: Tensor
    index_in_encoding: Tensor
    max_encodings: int
    max_tokens: int

    @property
    def num_rows(self) -> int:
        """Number of the task's rows, n."""
        return len(self.rows)

    def to(self, device: torch.device | str) -> "TaskRows":
        """Copies the tensors to a device."""
        return replace(self, **tensors_to(self, device))


def tensors_to(batch: Any, device: torch.device | str) -> dict[str, Any]:
    """Copies the tensors among a dataclass's fields to a device without waiting for the copies."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {
        name: value.to(device, non_blocking=True)
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def index_rows_by_task(
    task_ids: IntArray,
    encodings: IntArray,
    lengths: IntArray,
    token_marks: IntArray,
    token_positions: IntArray,
) -> dict[int, TaskRows]:
    """Returns {task id: indices of its rows in a batch} for the tasks with rows.

    Args:
        task_ids, encodings: task and number of encodings of each row, [rows].
        lengths: number of tokens of each encoding, [encodings].
        token_marks, token_positions: mark of each token and its index in the flattened batch, [tokens].
    """
    batch_row_of_encoding = np.repeat(np.arange(len(task_ids)), encodings)
    marked = np.flatnonzero(token_marks != UNMARKED)
    batch_encoding_of_marked = np.repeat(np.arange(len(lengths)), lengths)[marked]
    task_of_encoding = task_ids[batch_row_of_encoding]
    task_of_marked = task_of_encoding[batch_encoding_of_marked]
    rows_by_task = {}
    for task in np.unique(task_ids):
        rows = np.flatnonzero(task_ids == task)
        task_encodings = np.flatnonzero(task_of_encoding == task)
        counts = encodings[rows]
        row_of_encoding = np.repeat(np.arange(len(rows)), counts)
        tokens = marked[task_of_marked == task]
        encoding_of_token = np.searchsorted(task_encodings, batch_encoding_of_marked[task_of_marked == task])
        marked_tokens = np.bincount(encoding_of_token, minlength=len(task_encodings))
        arrays = {
            "rows": rows,
            "encodings": task_encodings,
            "row_of_encoding": row_of_encoding,
            "index_in_row": _ranges(np.zeros_like(counts), counts),
            "tokens": token_positions[tokens],
            "marks": token_marks[tokens],
            "row_of_token": row_of_encoding[encoding_of_token],
            "encoding_of_token": encoding_of_token,
            "index_in_encoding": _ranges(np.zeros_like(marked_tokens), marked_tokens),
        }
        tensors: dict[str, Any] = {name: torch.from_numpy(values) for name, values in arrays.items()}
        rows_by_task[int(task)] = TaskRows(
            **tensors, max_encodings=int(counts.max()), max_tokens=int(marked_tokens.max(initial=0))
        )
    return rows_by_task
