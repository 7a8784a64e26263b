"""The bound on a task's epochs: no task exceeds it, and the other tasks share what it cuts off."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sampling.epoch_bound import bound_epochs, epochs_beyond, fill_to_caps

Numbers = list[float] | list[int]


def bounded(
    weights: Numbers, sizes: Numbers, drawn: Numbers, rows_left: int, max_epochs: float
) -> list[float]:
    by_task = [np.asarray(values, dtype=np.float64) for values in (weights, sizes, drawn)]
    shares: list[float] = bound_epochs(by_task[0], by_task[1], by_task[2], rows_left, max_epochs).tolist()
    return shares


@pytest.mark.parametrize(
    ("weights", "sizes", "drawn", "rows_left", "max_epochs", "expected"),
    [
        # 10 rows twice are 20 of the 200 rows left: 0.1 in place of 0.4; the others share the rest 1 : 2.
        ([0.4, 0.2, 0.4], [10, 1000, 1000], [0, 0, 0], 200, 2.0, [0.1, 0.3, 0.6]),
        # The first is cut to 0.1; its rest would lift the second to 0.5, which is cut to 0.3.
        ([0.5, 0.25, 0.25], [10, 30, 1000], [0, 0, 0], 100, 1.0, [0.1, 0.3, 0.6]),
        # No task reaches the bound.
        ([0.4, 0.6], [10, 10], [0, 0], 10, 1.0, [0.4, 0.6]),
        # Rows drawn before count.
        ([0.5, 0.5], [10, 1000], [15, 0], 50, 2.0, [0.1, 0.9]),
        ([0.5, 0.5], [10, 1000], [20, 0], 50, 2.0, [0.0, 1.0]),
        # A task of weight 0 takes what no other may have.
        ([1.0, 0.0], [10, 1000], [0, 0], 100, 2.0, [0.2, 0.8]),
        # A run too long for the bound draws every task equally often.
        ([0.9, 0.1], [10, 30], [0, 0], 400, 2.0, [0.25, 0.75]),
        ([0.9, 0.1], [10, 30], [10, 10], 100, 2.0, [0.2, 0.8]),  # 20 and 80 are missing for 3 epochs
        ([0.8, 0.1, 0.1], [10, 10, 30], [90, 0, 0], 80, 1.0, [0.0, 0.25, 0.75]),  # the first is ahead
        # At the end of a run nothing is left to bound.
        ([0.4, 0.6], [1, 1], [9, 9], 0, 1.0, [0.4, 0.6]),
    ],
)
def test_shares_by_hand(
    weights: Numbers, sizes: Numbers, drawn: Numbers, rows_left: int, max_epochs: float, expected: Numbers
) -> None:
    assert bounded(weights, sizes, drawn, rows_left, max_epochs) == pytest.approx(expected)


def test_the_epochs_of_a_run_too_long_for_the_bound() -> None:
    assert epochs_beyond([10, 30], 80, 2.0) is None
    assert epochs_beyond([10, 30], 81, 2.0) == 81 / 40
    assert epochs_beyond([3, 3], 4, 0.5) is None, "half of 3 rows are 2"
    assert epochs_beyond([10, 30], 10**9, None) is None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 2)), min_size=1, max_size=12).filter(
        lambda pairs: sum(pair[0] for pair in pairs) > 1e-6 and sum(pair[1] for pair in pairs) >= 1
    )
)
def test_shares_keep_their_proportion_below_their_caps(pairs: list[tuple[float, float]]) -> None:
    weights, caps = np.asarray(pairs).T
    shares = fill_to_caps(weights, caps)
    assert shares.sum() == pytest.approx(1.0)
    assert bool((shares <= caps + 1e-9).all())
    free = (shares < caps - 1e-9) & (weights / weights.sum() > 1e-6)
    growth = shares[free] / weights[free]
    assert not free.any() or growth.max() == pytest.approx(growth.min(), rel=1e-6)
    capped = (shares >= caps - 1e-9) & (weights / weights.sum() > 1e-6)
    if free.any() and capped.any():
        assert bool((caps[capped] / weights[capped] <= growth.max() * (1 + 1e-6) + 1e-9).all())
