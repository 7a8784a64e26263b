"""Tokenised rows on the host: what batches are packed from.

Shape suffixes: rows are examples of a task; each is one or more encodings, sequences of tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

UNMARKED = -100
OF_TOKENS = ("input_ids", "token_type_ids", "token_marks")
OF_ROWS = ("task_ids", "labels", "row_ids", "encodings")


def _none() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class TokenRows:
    """Rows of any tasks, column by column. A window of a long passage, or a choice, is an encoding.

    Attributes:
        input_ids, token_type_ids: all encodings' tokens in one array, int64 [tokens].
        offsets: encoding i is `input_ids[offsets[i]:offsets[i + 1]]`, int64 [encodings + 1].
        task_ids: int64 [rows].
        labels: class number, regression value or number of the right choice, float32 [rows].
        row_ids: the row's number in its task's source, int64 [rows].
        encodings: encodings of each row, int64 [rows]; left out: one each.
        token_marks: what a head is told of single tokens, -100 where nothing, int64 [tokens]: a tag, the
            bits of a span (1 start, 2 end), the number of a marked word; left out: nothing anywhere.
    """

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    task_ids: NDArray[np.int64]
    labels: NDArray[np.float32]
    row_ids: NDArray[np.int64]
    encodings: NDArray[np.int64] = field(default_factory=_none)
    token_marks: NDArray[np.int64] = field(default_factory=_none)

    def __post_init__(self) -> None:
        if not len(self.encodings):
            object.__setattr__(self, "encodings", np.ones(len(self.task_ids), dtype=np.int64))
        if not len(self.token_marks):
            object.__setattr__(self, "token_marks", np.full(len(self.input_ids), UNMARKED))

    def __len__(self) -> int:
        return len(self.task_ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each encoding, [encodings]."""
        return np.diff(self.offsets)

    @property
    def row_lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, all its encodings together, [rows]."""
        return np.add.reduceat(self.lengths, _starts(self.encodings)) if len(self) else self.lengths

    @property
    def row_of_encoding(self) -> NDArray[np.int64]:
        """Number of the row that each encoding belongs to, [encodings]."""
        return np.repeat(np.arange(len(self)), self.encodings)

    def take(self, rows: NDArray[np.int64]) -> "TokenRows":
        """The named rows, in the order given."""
        encodings = _spread(_starts(self.encodings)[rows], self.encodings[rows])
        lengths = self.lengths[encodings]
        tokens = _spread(self.offsets[encodings], lengths)
        of_tokens = {name: getattr(self, name)[tokens] for name in OF_TOKENS}
        of_rows = {name: getattr(self, name)[rows] for name in OF_ROWS}
        return TokenRows(offsets=np.concatenate([[0], np.cumsum(lengths)]), **of_tokens, **of_rows)

    @staticmethod
    def concatenate(parts: Sequence["TokenRows"]) -> "TokenRows":
        """Several sets of rows as one, in order."""
        lengths = np.concatenate([part.lengths for part in parts])
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in (*OF_TOKENS, *OF_ROWS)
        }
        return TokenRows(offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), **columns)

    def labels_by_task(self, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Labels of the tasks that have rows here, each in row order: the model's `labels`."""
        return {
            tasks[task]: torch.from_numpy(self.labels[self.task_ids == task])
            for task in np.unique(self.task_ids)
        }


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each group begins, of groups of these sizes."""
    return np.cumsum(counts) - counts


def _spread(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, … for each of the groups, one after another."""
    return np.repeat(starts - _starts(counts), counts) + np.arange(counts.sum())


@dataclass(frozen=True)
class TaskRows:
    """Where one task's rows lie in a batch. n rows of the task, e encodings of them, k marked tokens.

    Attributes:
        rows: numbers of its rows in the batch, [n].
        encodings: numbers of its encodings in the batch, row after row, [e].
        row_of_encoding: place in `rows` of each encoding's row, [e].
        place_of_encoding: place of each encoding in its row, [e].
        tokens: places of its marked tokens in the flattened batch, [k].
        marks: their marks, [k].
        row_of_token, encoding_of_token: places in `rows` and in `encodings` of each token's, [k].
        place_of_token: place of each token among the marked ones of its encoding, [k].
        most_encodings: of a row.
        most_tokens: marked tokens of an encoding.
    """

    rows: Tensor
    encodings: Tensor
    row_of_encoding: Tensor
    place_of_encoding: Tensor
    tokens: Tensor
    marks: Tensor
    row_of_token: Tensor
    encoding_of_token: Tensor
    place_of_token: Tensor
    most_encodings: int
    most_tokens: int

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.rows)

    @property
    def num_encodings(self) -> int:
        """E."""
        return len(self.encodings)

    def to(self, device: torch.device | str) -> "TaskRows":
        """The same on another device, copied without waiting for it."""
        tensors = {
            column.name: getattr(self, column.name).to(device, non_blocking=True)
            for column in fields(self)
            if not column.name.startswith("most_")
        }
        return replace(self, **tensors)


def locate(
    task_ids: NDArray[np.int64],
    encodings: NDArray[np.int64],
    lengths: NDArray[np.int64],
    token_marks: NDArray[np.int64],
    place_of_token: NDArray[np.int64],
) -> dict[int, TaskRows]:
    """Where the rows of each task lie.

    Args:
        task_ids: of the batch's rows, [rows].
        encodings: encodings of each row, [rows].
        lengths: tokens of each encoding, [encodings].
        token_marks: of all tokens, encoding after encoding, [tokens].
        place_of_token: place of each token in the flattened batch, [tokens].

    Returns:
        {task id: its rows}, for the tasks that are present.
    """
    row_of = np.repeat(np.arange(len(task_ids)), encodings)
    marked = np.flatnonzero(token_marks != UNMARKED)
    encoding_of = np.repeat(np.arange(len(lengths)), lengths)[marked]
    found = {}
    for task in np.unique(task_ids):
        rows = np.flatnonzero(task_ids == task)
        own = np.flatnonzero(task_ids[row_of] == task)
        counts = encodings[rows]
        row_of_own = np.repeat(np.arange(len(rows)), counts)
        mine = task_ids[row_of[encoding_of]] == task
        encoding_of_token = np.searchsorted(own, encoding_of[mine])
        tokens_of = np.bincount(encoding_of_token, minlength=len(own))
        arrays = {
            "rows": rows,
            "encodings": own,
            "row_of_encoding": row_of_own,
            "place_of_encoding": _spread(np.zeros_like(counts), counts),
            "tokens": place_of_token[marked[mine]],
            "marks": token_marks[marked[mine]],
            "row_of_token": row_of_own[encoding_of_token],
            "encoding_of_token": encoding_of_token,
            "place_of_token": _spread(np.zeros_like(tokens_of), tokens_of),
        }
        tensors: dict[str, Any] = {name: torch.from_numpy(values) for name, values in arrays.items()}
        found[int(task)] = TaskRows(
            **tensors,
            most_encodings=int(counts.max()),
            most_tokens=int(tokens_of.max(initial=0)),
        )
    return found
