"""Encodings of unequal length into few full sequences, and back.

A mixed batch padded to its longest row is two thirds padding. Here several encodings share one sequence:
attention stays inside an encoding, positions restart with each, and it is found again by where its first
token lies. What the model gives does not depend on the packing. Most rows are a single encoding.

Shape suffixes: E encodings, S sequences, W tokens a sequence.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camtl.token_rows import UNMARKED, TaskRows, TokenRows, locate

__all__ = ["PackedBatch", "TaskRows", "TokenRows"]

WIDTH_MULTIPLE = 8  # widths that tensor cores and vector units like
MIN_MAX_WIDTH = 256
TOKEN_COST = 6 * 768  # in units of a width of one: 24 H² over 4 H, for a hidden size of 768
PADDING = -1  # encoding number of a packed sequence's padding
NO_KEY = -2  # encoding number, as a key, of a position that nobody attends to


@dataclass
class PackedBatch:
    """What the encoder reads: encodings laid out in sequences.

    Attributes:
        input_ids, token_type_ids, position_ids: int64 [S, W].
        encoding_ids: number of the encoding (in batch order) that asks at this position, [S, W]; -1 is
            packed padding, which attends only to itself.
        key_encoding_ids: the same, with -2 where nobody attends to the position, [S, W].
        token_task: task id of every token [S, W], or [S, 1] where a sequence is one task's.
        encoding_starts: where each encoding's first token lies in the flattened [S * W], [E].
        rows_by_task: where the rows of each task that is present lie.
        longest: tokens of the longest encoding; of a padded batch its width.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    encoding_ids: Tensor
    key_encoding_ids: Tensor
    token_task: Tensor
    encoding_starts: Tensor
    rows_by_task: dict[int, TaskRows]
    longest: int

    def blocked_scores(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """Additive attention scores [S, W, W]: 0 within an encoding, -inf across and beyond a window.

        Args:
            window: tokens to either side that are seen; None is the whole encoding.
            dtype: of the scores.
        """
        allowed = self.encoding_ids[:, :, None] == self.key_encoding_ids[:, None, :]
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
        rows_by_task = {task: rows.to(device) for task, rows in self.rows_by_task.items()}
        return PackedBatch(**moved, rows_by_task=rows_by_task, longest=self.longest)

    @staticmethod
    def from_padded(
        input_ids: Tensor,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        task_ids: Tensor,
        token_marks: Tensor | None = None,
    ) -> "PackedBatch":
        """A batch padded as usual: one row, of one encoding, a sequence; [B, W] each, `task_ids` [B]."""
        rows, width = input_ids.shape
        numbers = torch.arange(rows, device=input_ids.device)[:, None].expand(rows, width)
        keys = numbers if attention_mask is None else numbers.masked_fill(attention_mask == 0, NO_KEY)
        position_ids = torch.arange(width, device=input_ids.device).expand(rows, width)
        marks = (
            np.full(rows * width, UNMARKED) if token_marks is None else token_marks.flatten().cpu().numpy()
        )
        located = locate(
            task_ids.cpu().numpy(),
            np.ones(rows, dtype=np.int64),
            np.full(rows, width),
            marks,
            np.arange(rows * width),
        )
        return PackedBatch(
            input_ids=input_ids,
            token_type_ids=torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids,
            position_ids=position_ids,
            encoding_ids=numbers,
            key_encoding_ids=keys,
            token_task=task_ids[:, None],
            encoding_starts=torch.arange(rows, device=input_ids.device) * width,
            rows_by_task={task: found.to(input_ids.device) for task, found in located.items()},
            longest=width,
        )

    @staticmethod
    def pack(rows: TokenRows, *, max_width: int | None = None, pad_token_id: int = 0) -> "PackedBatch":
        """Rows' encodings laid into the sequences that leave the least padding.

        Args:
            rows: at least one row.
            max_width: widest sequence that is tried; a longer encoding makes it wider. None is 256, or room for
                two of the longest encoding: one passage a sequence would leave a fifth of it empty.
            pad_token_id: token of the padding.

        Raises:
            ValueError: there is no row to pack.
        """
        if len(rows) == 0:
            raise ValueError("a batch without rows cannot be packed")
        lengths = rows.lengths
        sequence, offset, width = best_layout(
            lengths, max_width or max(MIN_MAX_WIDTH, 2 * int(lengths.max()))
        )
        sequences = int(sequence.max()) + 1
        starts = sequence * width + offset
        in_encoding = np.arange(rows.offsets[-1]) - np.repeat(rows.offsets[:-1], lengths)
        target = np.repeat(starts, lengths) + in_encoding

        def place(values: NDArray[np.int64], fill: int) -> Tensor:
            flat = np.full(sequences * width, fill, dtype=np.int64)
            flat[target] = values
            return torch.from_numpy(flat.reshape(sequences, width))

        encoding_ids = place(np.repeat(np.arange(len(lengths)), lengths), PADDING)
        task_of_encoding = np.repeat(rows.task_ids, rows.encodings)
        return PackedBatch(
            input_ids=place(rows.input_ids, pad_token_id),
            token_type_ids=place(rows.token_type_ids, 0),
            position_ids=place(in_encoding, 0),
            encoding_ids=encoding_ids,
            key_encoding_ids=encoding_ids,
            token_task=place(np.repeat(task_of_encoding, lengths), 0),
            encoding_starts=torch.from_numpy(starts),
            rows_by_task=locate(rows.task_ids, rows.encodings, lengths, rows.token_marks, target),
            longest=int(lengths.max()),
        )


def best_layout(
    lengths: NDArray[np.int64], max_width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Sequence and offset of each encoding, and the width, with the least to compute.

    A token costs 24 H² operations a layer, and 4 H for every token that its sequence is wide (H: hidden size).

    For every number of sequences that fits into `max_width`, the narrowest width that can hold the
    encodings is tried by best-fit decreasing.

    Args:
        lengths: tokens of each encoding, [E].
        max_width: widest sequence to try.

    Returns:
        (sequence [E], offset in it [E], width).
    """
    longest, total = int(lengths.max()), int(lengths.sum())
    max_width = max(_round_up(longest), max_width)
    fewest = -(-total // max_width)
    candidates = {max_width, _round_up(longest)}
    for sequences in range(fewest, fewest + 4):
        exact = _round_up(max(longest, -(-total // sequences)))
        candidates.update(width for width in (exact, exact + WIDTH_MULTIPLE) if width <= max_width)
    layouts = [(*best_fit_decreasing(lengths, width), width) for width in sorted(candidates)]
    return min(layouts, key=lambda layout: (int(layout[0].max()) + 1) * layout[2] * (TOKEN_COST + layout[2]))


def best_fit_decreasing(
    lengths: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Longest encodings first, each into the fullest sequence that still has room.

    Args:
        lengths: tokens of each encoding, none over `width`, [E].
        width: tokens a sequence holds.

    Returns:
        (sequence [E], offset in it [E]).
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
