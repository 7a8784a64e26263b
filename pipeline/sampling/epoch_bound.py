"""The bound on a task's epochs, which keeps a run from overfitting a tiny task. T is the number of tasks."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.sampling.arrays import Floats

TINY = 1e-12  # replaces a weight of 0, so that such a task can take what the caps of all others leave


def bound_epochs(weights: Floats, sizes: Floats, drawn: Floats, rows_left: int, max_epochs: float) -> Floats:
    """Computes shares of the rows still to be drawn with which no task exceeds `max_epochs`.

    A task's remaining rows are spread over the rest of the run: its share is at most (remaining rows) / `rows_left`.
    What the bound cuts off goes to the other tasks in proportion to their weights. In a run that is longer than the
    bounds of all tasks together, every task ends with the same number of epochs.

    Args:
        weights: shares under the policy, [T].
        sizes: training rows of each task, [T].
        drawn: rows drawn from each task so far, over all epochs, [T].
        rows_left: rows that the run draws from here on; 0 keeps the weights.
        max_epochs: most passes over a task's rows in the run; a fraction of a row counts as a row.

    Returns:
        [T], summing to 1; 0 for a task at its bound.
    """
    if rows_left < 1:
        return weights / weights.sum()
    room = np.maximum(np.ceil(max_epochs * sizes) - drawn, 0.0)
    if room.sum() < rows_left:
        room = _even_room(sizes, drawn, rows_left)
    return fill_to_caps(weights, room / rows_left)


def epochs_beyond(sizes: Sequence[int], rows: int, max_epochs: float | None) -> float | None:
    """Epochs of every task in a run of `rows` that exceeds the bound; None for a run within it."""
    if max_epochs is None or rows <= sum(math.ceil(max_epochs * size) for size in sizes):
        return None
    return rows / sum(sizes)


def fill_to_caps(weights: Floats, caps: Floats) -> Floats:
    """Distributes 1 in proportion to `weights` [T], no share above its cap [T]; the caps sum to 1 or more."""
    weights = np.maximum(weights / weights.sum(), TINY)
    order = np.argsort(caps / weights, kind="stable")  # the order in which growing shares reach their caps
    weight, share = weights[order], caps[order]
    growth = (1.0 - (np.cumsum(share) - share)) / np.cumsum(weight[::-1])[::-1]
    below = growth * weight <= share  # with all earlier tasks at their caps, this task is below its own
    if below.any():
        first = int(np.argmax(below))
        share[first:] = growth[first] * weight[first:]
    shares = np.empty_like(share)
    shares[order] = share
    return shares / shares.sum()


def _even_room(sizes: Floats, drawn: Floats, rows_left: int) -> Floats:
    """Rows of each task, `rows_left` in total, that level the tasks' epochs as far as possible, [T]."""
    order = np.argsort(drawn / sizes, kind="stable")
    # Epochs of the n least drawn tasks if only they are drawn, for n = 1, 2, ...
    epochs = (rows_left + np.cumsum(drawn[order])) / np.cumsum(sizes[order])
    next_epochs = np.append((drawn / sizes)[order][1:], np.inf)
    return np.maximum(epochs[np.argmax(epochs <= next_epochs)] * sizes - drawn, 0.0)
