"""Packs encodings of unequal length into few, nearly full sequences.

A mixed batch padded to its longest row is two thirds padding. Here several encodings share one sequence:
attention stays inside an encoding, positions restart with each, and the batch records the index of each
encoding's first token. The model's output does not depend on the packing. Most rows have one encoding.

Shape suffixes: E encodings, S sequences, W tokens a sequence.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from camtl.token_rows import UNMARKED, IntArray, TaskRows, TokenRows, index_rows_by_task, tensors_to

__all__ = ["PackedBatch", "TaskRows", "TokenRows"]

WIDTH_MULTIPLE = 8  # suits tensor cores and vector units
MIN_MAX_WIDTH = 256
# FLOPs of a token's matrix products (24 H²) over those of attending to one position (4 H), for a hidden size H of 768
TOKEN_COST = 6 * 768
PADDING = -1  # encoding number of a packed sequence's padding
NO_KEY = -2  # encoding number, as a key, of a position that no token attends to


@dataclass
class PackedBatch:
    """The encoder's input: encodings arranged in sequences.

    Attributes:
        input_ids, token_type_ids, position_ids: int64 [S, W].
        encoding_ids: number (in batch order) of the encoding at each position, as a query, [S, W]; -1 is
            packed padding, which attends only to padding.
        key_encoding_ids: the same, as a key, with -2 where no token attends to the position, [S, W].
        token_task: task id of every token [S, W], or [S, 1] if each sequence has one task.
        encoding_starts: index of each encoding's first token in the flattened [S * W], [E].
        rows_by_task: indices of the rows of each task in the batch.
        longest: number of tokens of the longest encoding; of a padded batch its width.
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

    def attention_mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """Additive attention mask [S, W, W]: 0 within an encoding, -inf across encodings and beyond a window.

        The window is the number of visible tokens to either side; None: the complete encoding.
        """
        allowed = self.encoding_ids[:, :, None] == self.key_encoding_ids[:, None, :]
        if window is not None:
            distance = self.position_ids[:, :, None] - self.position_ids[:, None, :]
            # A padding token without any visible key would give NaN.
            itself = torch.eye(allowed.shape[-1], dtype=torch.bool, device=allowed.device)
            allowed = (allowed & (distance.abs() <= window)) | itself
        zeros = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        return zeros.masked_fill(~allowed, float("-inf"))

    def to(self, device: torch.device | str) -> "PackedBatch":
        """Copies the batch to a device without waiting for the copy."""
        rows_by_task = {task: rows.to(device) for task, rows in self.rows_by_task.items()}
        return replace(self, **tensors_to(self, device), rows_by_task=rows_by_task)

    @staticmethod
    def from_padded(
        input_ids: Tensor,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        task_ids: Tensor,
        token_marks: Tensor | None = None,
    ) -> "PackedBatch":
        """Converts a padded batch: one row, of one encoding, a sequence; [B, W] each, `task_ids` [B]."""
        rows, width = input_ids.shape
        numbers = torch.arange(rows, device=input_ids.device)[:, None].expand(rows, width)
        keys = numbers if attention_mask is None else numbers.masked_fill(attention_mask == 0, NO_KEY)
        rows_by_task = index_rows_by_task(
            task_ids.cpu().numpy(),
            np.ones(rows, dtype=np.int64),
            np.full(rows, width),
            np.full(rows * width, UNMARKED) if token_marks is None else token_marks.flatten().cpu().numpy(),
            np.arange(rows * width),
        )
        return PackedBatch(
            input_ids=input_ids,
            token_type_ids=torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids,
            position_ids=torch.arange(width, device=input_ids.device).expand(rows, width),
            encoding_ids=numbers,
            key_encoding_ids=keys,
            token_task=task_ids[:, None],
            encoding_starts=torch.arange(rows, device=input_ids.device) * width,
            rows_by_task={task: task_rows.to(input_ids.device) for task, task_rows in rows_by_task.items()},
            longest=width,
        )

    @staticmethod
    def pack(rows: TokenRows, *, max_width: int | None = None) -> "PackedBatch":
        """Packs the rows' encodings into the sequences that cost least to compute.

        Args:
            rows: at least one.
            max_width: largest sequence width to try; a longer encoding exceeds it. None is 256, or twice the
                longest encoding if that is more; sequences of one passage each would be a fifth padding.

        Raises:
            ValueError: there are no rows.
        """
        if len(rows) == 0:
            raise ValueError("a batch without rows cannot be packed")
        lengths = rows.lengths
        sequence, offset, width = best_layout(
            lengths, max_width or max(MIN_MAX_WIDTH, 2 * int(lengths.max()))
        )
        sequences = int(sequence.max()) + 1
        starts = sequence * width + offset
        positions = np.arange(rows.offsets[-1]) - np.repeat(rows.offsets[:-1], lengths)
        token_positions = np.repeat(starts, lengths) + positions

        def scatter(values: IntArray, fill: int = 0) -> Tensor:
            flat = np.full(sequences * width, fill, dtype=np.int64)
            flat[token_positions] = values
            return torch.from_numpy(flat.reshape(sequences, width))

        encoding_ids = scatter(np.repeat(np.arange(len(lengths)), lengths), PADDING)
        return PackedBatch(
            input_ids=scatter(rows.input_ids),
            token_type_ids=scatter(rows.token_type_ids),
            position_ids=scatter(positions),
            encoding_ids=encoding_ids,
            key_encoding_ids=encoding_ids,
            token_task=scatter(np.repeat(rows.task_ids[rows.row_of_encoding], lengths)),
            encoding_starts=torch.from_numpy(starts),
            rows_by_task=index_rows_by_task(
                rows.task_ids, rows.encodings, lengths, rows.token_marks, token_positions
            ),
            longest=int(lengths.max()),
        )


def best_layout(lengths: IntArray, max_width: int) -> tuple[IntArray, IntArray, int]:
    """Finds the layout of encodings of these lengths [E] with the least computation.

    A token costs 24 H² operations a layer, and 4 H for each token of its sequence's width (H: hidden size).
    For each of a few numbers of sequences, best-fit decreasing tries the narrowest widths that can hold
    the encodings.

    Returns:
        (sequence of each encoding [E], offset in it [E], width).
    """
    longest, total = int(lengths.max()), int(lengths.sum())
    max_width = max(_round_up(longest), max_width)
    fewest = -(-total // max_width)
    widths = {max_width, _round_up(longest)}
    for sequences in range(fewest, fewest + 4):
        exact = _round_up(max(longest, -(-total // sequences)))
        widths.update(width for width in (exact, exact + WIDTH_MULTIPLE) if width <= max_width)
    layouts = [(*best_fit_decreasing(lengths, width), width) for width in sorted(widths)]
    return min(layouts, key=lambda layout: (int(layout[0].max()) + 1) * layout[2] * (TOKEN_COST + layout[2]))


def best_fit_decreasing(lengths: IntArray, width: int) -> tuple[IntArray, IntArray]:
    """Places encodings of these lengths [E] longest first, each in the fullest sequence with enough room.

    Returns:
        (sequence of each encoding [E], offset in it [E]).
    """
    sequence = np.zeros(len(lengths), dtype=np.int64)
    offset = np.zeros(len(lengths), dtype=np.int64)
    room: list[int] = []  # free tokens of each sequence
    for encoding in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[encoding])
        fitting = [(space, number) for number, space in enumerate(room) if space >= length]
        number = min(fitting)[1] if fitting else len(room)
        if number == len(room):
            room.append(width)
        sequence[encoding], offset[encoding] = number, width - room[number]
        room[number] -= length
    return sequence, offset


def _round_up(width: int) -> int:
    return -(-width // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
