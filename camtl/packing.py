"""Rows of unequal length into few full sequences, and back.

A mixed batch padded to its longest row is two thirds padding. Here several rows share one sequence:
attention stays inside a row, positions restart with every row, and a row is found again by where its
first token lies. What the model gives per row does not depend on the packing.

Shape suffixes: B rows, S sequences, W tokens a sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WIDTH_MULTIPLE = 8  # widths that tensor cores and vector units like
PADDING = -1  # row number of a packed sequence's padding
NO_KEY = -2  # row number, as a key, of a position that nobody attends to


@dataclass(frozen=True)
class TokenRows:
    """Tokenised rows, column by column, on the host.

    Attributes:
        input_ids, token_type_ids: all rows' tokens in one array, int64 [tokens].
        offsets: row i is `input_ids[offsets[i]:offsets[i + 1]]`, int64 [rows + 1].
        task_ids: int64 [rows].
        labels: class number or regression value, float32 [rows].
        row_ids: the row's number in its task's source, int64 [rows].
    """

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    task_ids: NDArray[np.int64]
    labels: NDArray[np.float32]
    row_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.task_ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, [rows]."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> "TokenRows":
        """The named rows, in the order given."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        tokens = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return TokenRows(
            self.input_ids[tokens],
            self.token_type_ids[tokens],
            offsets,
            self.task_ids[rows],
            self.labels[rows],
            self.row_ids[rows],
        )

    @staticmethod
    def concatenate(parts: Sequence["TokenRows"]) -> "TokenRows":
        """Several sets of rows as one, in order."""
        lengths = np.concatenate([part.lengths for part in parts])
        columns = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(TokenRows)
            if field.name != "offsets"
        }
        return TokenRows(offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), **columns)

    def labels_by_task(self, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Labels of the tasks that have rows here, each in row order: the model's `labels`."""
        return {
            tasks[task]: torch.from_numpy(self.labels[self.task_ids == task])
            for task in np.unique(self.task_ids)
        }


@dataclass
class PackedBatch:
    """What the encoder reads: rows laid out in sequences.

    Attributes:
        input_ids, token_type_ids, position_ids: int64 [S, W].
        row_ids: number of the row (in batch order) that asks at this position, [S, W]; -1 is packed
            padding, which attends only to itself.
        key_row_ids: the same, with -2 where nobody attends to the position, [S, W].
        token_task: task id of every token [S, W], or [S, 1] where a sequence is one task's.
        row_starts: where each row's first token lies in the flattened [S * W], [B].
        rows_by_task: numbers of the rows of each task that is present, {task id: [n]}.
        longest: tokens of the longest row; of a padded batch its width.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    row_ids: Tensor
    key_row_ids: Tensor
    token_task: Tensor
    row_starts: Tensor
    rows_by_task: dict[int, Tensor]
    longest: int

    @property
    def num_rows(self) -> int:
        """B."""
        return self.row_starts.shape[0]

    def blocked_scores(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """Additive attention scores [S, W, W]: 0 within a row, -inf across rows and beyond a window.

        Args:
            window: tokens to either side that are seen; None is the whole row.
            dtype: of the scores.
        """
        allowed = self.row_ids[:, :, None] == self.key_row_ids[:, None, :]
        if window is not None:
            distance = self.position_ids[:, :, None] - self.position_ids[:, None, :]
            itself = torch.eye(allowed.shape[-1], dtype=torch.bool, device=allowed.device)
            allowed = (
                allowed & (distance.abs() <= window)
            ) | itself  # padding may see no token otherwise: NaN
        zeros = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        return zeros.masked_fill(~allowed, float("-inf"))

    def to(self, device: torch.device | str) -> "PackedBatch":
        """The same batch on another device, copied without waiting for it."""
        moved = {
            field.name: getattr(self, field.name).to(device, non_blocking=True)
            for field in fields(self)
            if field.name not in ("rows_by_task", "longest")
        }
        rows_by_task = {task: rows.to(device, non_blocking=True) for task, rows in self.rows_by_task.items()}
        return PackedBatch(**moved, rows_by_task=rows_by_task, longest=self.longest)

    @staticmethod
    def from_padded(
        input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None, task_ids: Tensor
    ) -> "PackedBatch":
        """A batch padded as usual: one row a sequence, [B, W] each, `task_ids` [B]."""
        rows, width = input_ids.shape
        row_ids = torch.arange(rows, device=input_ids.device)[:, None].expand(rows, width)
        key_row_ids = row_ids if attention_mask is None else row_ids.masked_fill(attention_mask == 0, NO_KEY)
        position_ids = torch.arange(width, device=input_ids.device).expand(rows, width)
        return PackedBatch(
            input_ids=input_ids,
            token_type_ids=torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids,
            position_ids=position_ids,
            row_ids=row_ids,
            key_row_ids=key_row_ids,
            token_task=task_ids[:, None],
            row_starts=torch.arange(rows, device=input_ids.device) * width,
            rows_by_task=_rows_by_task(task_ids.cpu().numpy(), input_ids.device),
            longest=width,
        )

    @staticmethod
    def pack(rows: TokenRows, *, max_width: int = 256, pad_token_id: int = 0) -> "PackedBatch":
        """Rows laid into the sequences that leave the least padding.

        Args:
            rows: at least one row.
            max_width: widest sequence that is tried; a longer row makes it wider.
            pad_token_id: token of the padding.

        Raises:
            ValueError: there is no row to pack.
        """
        if len(rows) == 0:
            raise ValueError("a batch without rows cannot be packed")
        lengths = rows.lengths
        sequence, offset, width = best_layout(lengths, max_width)
        sequences = int(sequence.max()) + 1
        starts = sequence * width + offset
        in_row = np.arange(rows.offsets[-1]) - np.repeat(rows.offsets[:-1], lengths)
        target = np.repeat(starts, lengths) + in_row

        def place(values: NDArray[np.int64], fill: int) -> Tensor:
            flat = np.full(sequences * width, fill, dtype=np.int64)
            flat[target] = values
            return torch.from_numpy(flat.reshape(sequences, width))

        row_ids = place(np.repeat(np.arange(len(rows)), lengths), PADDING)
        return PackedBatch(
            input_ids=place(rows.input_ids, pad_token_id),
            token_type_ids=place(rows.token_type_ids, 0),
            position_ids=place(in_row, 0),
            row_ids=row_ids,
            key_row_ids=row_ids,
            token_task=place(np.repeat(rows.task_ids, lengths), 0),
            row_starts=torch.from_numpy(starts),
            rows_by_task=_rows_by_task(rows.task_ids, "cpu"),
            longest=int(lengths.max()),
        )


def best_layout(
    lengths: NDArray[np.int64], max_width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Sequence and offset of each row, and the width, with the fewest tokens computed.

    For every number of sequences that fits into `max_width`, the narrowest width that can hold the
    rows is tried by best-fit decreasing.

    Args:
        lengths: tokens of each row, [B].
        max_width: widest sequence to try.

    Returns:
        (sequence [B], offset in it [B], width).
    """
    longest, total = int(lengths.max()), int(lengths.sum())
    max_width = max(_round_up(longest), max_width)
    fewest = -(-total // max_width)
    candidates = {max_width, _round_up(longest)}
    for sequences in range(fewest, fewest + 4):
        exact = _round_up(max(longest, -(-total // sequences)))
        candidates.update(width for width in (exact, exact + WIDTH_MULTIPLE) if width <= max_width)
    layouts = [(*best_fit_decreasing(lengths, width), width) for width in sorted(candidates)]
    return min(layouts, key=lambda layout: (int(layout[0].max()) + 1) * layout[2])


def best_fit_decreasing(
    lengths: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Longest rows first, each into the fullest sequence that still has room.

    Args:
        lengths: tokens of each row, none over `width`, [B].
        width: tokens a sequence holds.

    Returns:
        (sequence [B], offset in it [B]).
    """
    sequence = np.zeros(len(lengths), dtype=np.int64)
    offset = np.zeros(len(lengths), dtype=np.int64)
    room: list[int] = []
    for row in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[row])
        fitting = [(space, place) for place, space in enumerate(room) if space >= length]
        place = min(fitting)[1] if fitting else len(room)
        if place == len(room):
            room.append(width)
        sequence[row], offset[row] = place, width - room[place]
        room[place] -= length
    return sequence, offset


def _round_up(width: int) -> int:
    return -(-width // WIDTH_MULTIPLE) * WIDTH_MULTIPLE


def _rows_by_task(task_ids: NDArray[np.int64], device: torch.device | str) -> dict[int, Tensor]:
    return {
        int(task): torch.from_numpy(np.flatnonzero(task_ids == task)).to(device)
        for task in np.unique(task_ids)
    }
