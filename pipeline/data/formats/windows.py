"""Windows over texts that are longer than an encoding, and the answers that lie whole in them.

Shapes: N rows, W windows, K places of answers. Positions count tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.data.formats.tokens import Ints, ragged_ranges


def cut_windows(lengths: Ints, room: Ints, stride: int) -> tuple[Ints, Ints, Ints]:
    """Cuts texts into windows that overlap, so that a short answer at one's end is whole in the next.

    Args:
        lengths: [N] tokens of the texts; one without tokens has one empty window.
        room: [N] tokens of the widest window, at least 1.
        stride: Tokens that neighbouring windows share, as `stride` means it in the tokenizers library;
            at most half a window.

    Returns:
        Row, first token within its text and number of tokens of each window, each [W], in order.
    """
    step = room - np.minimum(stride, room // 2)
    counts = 1 + np.maximum(0, -(-(lengths - room) // step))
    row = np.repeat(np.arange(len(lengths)), counts)
    first = ragged_ranges(np.zeros(len(counts), np.int64), counts) * step[row]
    return row, first, np.minimum(room[row], lengths[row] - first)


def first_inside(
    window_row: Ints, begin: Ints, end: Ints, place_row: Ints, place_first: Ints, place_last: Ints
) -> Ints:
    """For each window [W] the first place of its row that lies whole in it, -1 where none does.

    Args:
        window_row: [W].
        begin: [W] position of the window's first token.
        end: [W] position behind its last token.
        place_row: [K], ascending.
        place_first: [K] position of the place's first token.
        place_last: [K] position of its last token.
    """
    bounds = np.searchsorted(place_row, [window_row, window_row + 1])
    counts = bounds[1] - bounds[0]
    window = np.repeat(np.arange(len(window_row)), counts)
    place = ragged_ranges(bounds[0], counts)
    inside = np.flatnonzero((place_first[place] >= begin[window]) & (place_last[place] < end[window]))
    windows, earliest = np.unique(window[inside], return_index=True)
    chosen = np.full(len(window_row), -1, np.int64)
    chosen[windows] = place[inside[earliest]]
    return chosen


def keep_windows(window_row: Ints, has_answer: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """[W] whether a window is among the `limit` of its row: those with the answer first, then in order."""
    order = np.lexsort((np.arange(len(window_row)), ~has_answer, window_row))
    rank = np.arange(len(order)) - np.searchsorted(window_row, window_row)  # rows are ascending
    kept = np.empty(len(order), np.bool_)
    kept[order] = rank < limit
    return kept
