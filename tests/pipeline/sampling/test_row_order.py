"""The order of a task's rows: every row once an epoch, and few row groups for a round of a large set."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.preparation.schema import ROW_GROUP_ROWS
from pipeline.sampling.arrays import Ints
from pipeline.sampling.row_order import SCATTERED_ROWS, WINDOW_GROUPS, WINDOW_ROWS, seeded_row

SMALL = 50
LARGE = 5 * WINDOW_ROWS + 3 * ROW_GROUP_ROWS + 77  # neither complete windows nor complete groups
sizes = st.one_of(st.integers(1, 5000), st.integers(SCATTERED_ROWS + 1, 4 * SCATTERED_ROWS))


def order(positions: Ints, size: int = LARGE, *, key: int = 7, epoch: int = 2, seed: int = 5) -> Ints:
    n = len(positions)
    return seeded_row(positions, np.full(n, size), np.full(n, key, dtype=np.uint64), np.full(n, epoch), seed)


def groups_of(rows: Ints) -> int:
    return len(np.unique(rows // ROW_GROUP_ROWS))


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(0, 2**32 - 1), st.integers(0, 1000), st.integers(0, 2**62))
def test_every_row_comes_once_an_epoch(size: int, key: int, epoch: int, seed: int) -> None:
    rows = order(np.arange(size), size, key=key, epoch=epoch, seed=seed)
    assert np.array_equal(np.sort(rows), np.arange(size))


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("change", [{"key": 8}, {"epoch": 3}, {"seed": 6}])
def test_task_epoch_and_seed_each_change_the_order(change: dict[str, int], size: int) -> None:
    positions = np.arange(min(size, 2000))
    assert (order(positions, size) == order(positions, size, **change)).mean() < 0.2


def test_the_order_looks_random() -> None:
    """No row prefers an early position: over many epochs each comes first about equally often."""
    epochs = 2000
    first = np.zeros(epochs, dtype=np.int64)
    keys = np.full(epochs, 7, dtype=np.uint64)
    rows = Counter(seeded_row(first, np.full(epochs, 10), keys, np.arange(epochs), 3).tolist())
    assert (
        sum((rows[row] - epochs / 10) ** 2 / (epochs / 10) for row in range(10)) < 40
    )  # chi-square, 9 degrees


@pytest.mark.parametrize("size", [SCATTERED_ROWS + 1, LARGE, 8 * WINDOW_ROWS])
def test_a_few_hundred_rows_lie_in_a_few_dozen_row_groups(size: int) -> None:
    rows = order(np.arange(size), size)
    touched = [groups_of(rows[start : start + 200]) for start in range(0, size, 200)]
    assert max(touched) <= 3 * WINDOW_GROUPS
    scattered = np.random.default_rng(0).choice(size, 200, replace=False)
    assert np.mean(touched) < 0.6 * groups_of(scattered)
    assert groups_of(order(np.arange(200), SCATTERED_ROWS)) > 50, "a small set is scattered"


def test_neighbouring_rows_are_drawn_apart() -> None:
    """A batch is never a piece of the file: the rows of a group come mixed with the others of its window."""
    rows = order(np.arange(LARGE))
    groups = rows // ROW_GROUP_ROWS
    assert np.mean(groups[1:] == groups[:-1]) < 0.15
    assert (np.diff(rows) == 1).mean() < 0.001


def test_the_first_groups_of_an_epoch_come_from_the_complete_set() -> None:
    firsts = np.concatenate([order(np.arange(50), epoch=epoch) for epoch in range(200)])
    counts = np.bincount(firsts // WINDOW_ROWS, minlength=6)[:5]
    assert counts.min() > 0.7 * counts.mean()
    assert counts.max() < 1.3 * counts.mean()


def test_single_positions_of_a_billion_rows_are_computed_alone() -> None:
    positions = np.arange(10_000) + 3 * 10**8
    rows = order(positions, 10**9)
    assert len(np.unique(rows)) == 10_000
    assert 0 <= rows.min() < 10**8
    assert 9 * 10**8 < rows.max() < 10**9
    assert groups_of(rows) <= 3 * WINDOW_GROUPS
    some = np.asarray([77, 9_999, 0])
    assert np.array_equal(order(positions[some], 10**9), rows[some])
