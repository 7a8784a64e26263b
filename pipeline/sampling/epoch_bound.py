"""A ceiling on how often a run comes back to a task, so that a tiny one is not learnt by heart.

Pure functions of numbers. T is the number of tasks.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TINY = 1e-12  # share of a task of no weight: it takes only what no other may have


def bound_epochs(weights: Floats, sizes: Floats, drawn: Floats, rows_left: int, max_epochs: float) -> Floats:
    """Shares of what is still to be drawn, by which no task is drawn more than `max_epochs` times.

    A task's rows that it may still give are spread over the rest of the run, not used up at once: its
    share is at most (those rows) / `rows_left`. What it may not have goes to the others in proportion
    to their weights. A run that is longer than the bound allows for all tasks together cannot keep it:
    the bound then rises for all alike, which ends with every task drawn equally often.

    Args:
        weights: shares that a policy gives, [T].
        sizes: training rows of each task, [T].
        drawn: rows drawn from each task so far, over all epochs, [T].
        rows_left: rows to be drawn from here to the end of the run; with 0 the weights stay.
        max_epochs: passes over a task's rows in the whole run; a part of a row counts as a row.

    Returns:
        [T], summing to 1; 0 for a task that is used up.
    """
    if rows_left < 1:
        return weights / weights.sum()
    room = np.maximum(np.ceil(max_epochs * sizes) - drawn, 0.0)
    if room.sum() < rows_left:
        room = _even_room(sizes, drawn, rows_left)
    return fill(weights, room / rows_left)


def epochs_beyond(sizes: Sequence[int], rows: int, max_epochs: float | None) -> float | None:
    """How often a run of `rows` draws every task where that is more than the bound allows, else None."""
    if max_epochs is None or rows <= sum(math.ceil(max_epochs * size) for size in sizes):
        return None
    return rows / sum(sizes)


def fill(weights: Floats, caps: Floats) -> Floats:
    """Shares in proportion to `weights`, none above its cap; what a cap cuts off goes to the others.

    Args:
        weights: 0 or more, not all 0, [T].
        caps: 0 or more, summing to 1 at least, [T].

    Returns:
        [T], summing to 1.
    """
    weights = np.maximum(weights / weights.sum(), TINY)
    order = np.argsort(caps / weights, kind="stable")  # who meets its cap first as all shares grow
    weight, share = weights[order], caps[order]
    growth = (1.0 - (np.cumsum(share) - share)) / np.cumsum(weight[::-1])[::-1]
    below = growth * weight <= share  # with all before it at their caps, this one is below its own
    if below.any():
        first = int(np.argmax(below))
        share[first:] = growth[first] * weight[first:]
    shares = np.empty_like(share)
    shares[order] = share
    return shares / shares.sum()


def _even_room(sizes: Floats, drawn: Floats, rows_left: int) -> Floats:
    """Rows [T] that bring all tasks as near as can be to the same number of epochs, `rows_left` together."""
    order = np.argsort(drawn / sizes, kind="stable")
    epochs = (rows_left + np.cumsum(drawn[order])) / np.cumsum(sizes[order])  # if these alone are drawn
    ahead = np.append((drawn / sizes)[order][1:], np.inf)
    return np.maximum(epochs[np.argmax(epochs <= ahead)] * sizes - drawn, 0.0)
