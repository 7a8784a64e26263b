"""The order of sets that may be read from disk: every row once an epoch, and few row groups for a round."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.preparation.schema import ROW_GROUP_ROWS
from pipeline.sampling.plan import (
    SCATTERED_ROWS,
    WINDOW_ROWS,
    Ints,
    plan_round,
    seeded_permutation,
    seeded_row,
)

SIZE = 5 * WINDOW_ROWS + 3 * ROW_GROUP_ROWS + 77  # neither whole windows nor whole blocks


def order(positions: Ints, size: int = SIZE, *, key: int = 7, epoch: int = 2, seed: int = 5) -> Ints:
    of_each = (np.full(len(positions), value) for value in (size, key, epoch))
    sizes, keys, epochs = of_each
    return seeded_row(positions, sizes, keys.astype(np.uint64), epochs, seed)


def blocks_of(rows: Ints) -> int:
    return len(np.unique(rows // ROW_GROUP_ROWS))


@settings(deadline=None, max_examples=15)
@given(
    st.integers(SCATTERED_ROWS + 1, 4 * SCATTERED_ROWS),
    st.integers(0, 2**32 - 1),
    st.integers(0, 9),
    st.integers(0, 2**62),
)
def test_every_row_comes_once_an_epoch(size: int, key: int, epoch: int, seed: int) -> None:
    rows = order(np.arange(size), size, key=key, epoch=epoch, seed=seed)
    assert np.array_equal(np.sort(rows), np.arange(size))


@pytest.mark.parametrize("size", [SCATTERED_ROWS + 1, SIZE, 8 * WINDOW_ROWS])
def test_a_few_hundred_rows_lie_in_a_few_dozen_row_groups(size: int) -> None:
    rows = order(np.arange(size), size)
    touched = [blocks_of(rows[start : start + 200]) for start in range(0, size, 200)]
    assert max(touched) <= 3 * WINDOW_ROWS // ROW_GROUP_ROWS
    scattered = seeded_permutation(
        np.arange(200), np.full(200, size), np.full(200, 7, dtype=np.uint64), np.full(200, 2), 5
    )
    assert np.mean(touched) < 0.6 * blocks_of(scattered)


def test_rows_that_lie_together_are_drawn_apart() -> None:
    """A batch never is a piece of the file: a block's rows come mixed with those of its window's others."""
    block = order(np.arange(SIZE)) // ROW_GROUP_ROWS
    assert np.mean(block[1:] == block[:-1]) < 0.15
    assert (np.diff(order(np.arange(SIZE))) == 1).mean() < 0.001


def test_blocks_come_from_all_over_the_set() -> None:
    """The first rows of many epochs are spread evenly: no block is always early or always late."""
    firsts = np.concatenate([order(np.arange(50), epoch=epoch) for epoch in range(200)])
    counts = np.bincount(firsts // WINDOW_ROWS, minlength=6)[:5]
    assert counts.min() > 0.7 * counts.mean()
    assert counts.max() < 1.3 * counts.mean()


@pytest.mark.parametrize("change", [{"key": 8}, {"epoch": 3}, {"seed": 6}])
def test_task_epoch_and_seed_each_change_the_order(change: dict[str, int]) -> None:
    positions = np.arange(2000)
    assert (order(positions) == order(positions, **change)).mean() < 0.01


def test_single_positions_of_a_thousand_million_rows_need_no_whole_order() -> None:
    positions = np.arange(10_000) + 3 * 10**8
    rows = order(positions, 10**9)
    assert len(np.unique(rows)) == 10_000
    assert 0 <= rows.min() < 10**8
    assert 9 * 10**8 < rows.max() < 10**9
    assert blocks_of(rows) <= 3 * WINDOW_ROWS // ROW_GROUP_ROWS
    some = np.asarray([77, 9_999, 0])
    assert np.array_equal(order(positions[some], 10**9), rows[some])


def test_smaller_sets_are_scattered_whole() -> None:
    positions = np.arange(SCATTERED_ROWS)
    whole = seeded_permutation(
        positions,
        np.full(len(positions), SCATTERED_ROWS),
        np.full(len(positions), 7, dtype=np.uint64),
        np.full(len(positions), 2),
        5,
    )
    assert np.array_equal(order(positions, SCATTERED_ROWS), whole)
    assert blocks_of(whole[:200]) > 50


def test_rounds_walk_through_a_large_set_beside_a_small_one() -> None:
    drawn: list[Ints] = []
    cursors, first_step = np.zeros(2, dtype=np.int64), 1
    while cursors[1] < SIZE:
        plan = plan_round(
            seed=4,
            tasks=("small", "large"),
            sizes=(50, SIZE),
            cursors=cursors.tolist(),
            weights=np.asarray([0.1, 0.9]),
            first_step=first_step,
            steps=10,
            candidates_per_step=1000,
            world_size=2,
        )
        drawn.append(plan.row[plan.task == 1])
        cursors, first_step = cursors + plan.drawn, first_step + 10
    counts = np.bincount(np.concatenate(drawn), minlength=SIZE)
    assert counts.min() == 1
    assert counts.max() <= 2
    assert all(
        blocks_of(rows) <= len(rows) // ROW_GROUP_ROWS + 3 * WINDOW_ROWS // ROW_GROUP_ROWS for rows in drawn
    )
