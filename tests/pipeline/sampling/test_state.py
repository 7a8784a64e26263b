"""The sampler's state that follows from measured uncertainties."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sampling.state import SamplerState, mean_uncertainties, next_round, observe

NAN = float("nan")
uncertainties = st.tuples(*[st.one_of(st.just(NAN), st.floats(0, 1))] * 3)
counts = st.integers(0, 10**12)


@settings(deadline=None)
@given(
    st.builds(
        SamplerState,
        step=counts,
        round_start=counts,
        cursors=st.tuples(counts, counts, counts),
        planned_from=uncertainties,
        plan_next_from=uncertainties,
        uncertainty=uncertainties,
    )
)
def test_a_state_survives_json(state: SamplerState) -> None:
    text = json.dumps(state.to_dict(), allow_nan=False)
    assert repr(SamplerState.from_dict(json.loads(text))) == repr(state)  # equality, with NaN equal to NaN


def test_the_first_mean_counts_in_full_and_later_ones_are_smoothed() -> None:
    state = observe(SamplerState.initial(3), np.asarray([0.8, NAN, 0.0]), smoothing=0.75)
    assert state.step == 1
    np.testing.assert_array_equal(state.uncertainty, [0.8, NAN, 0.0])
    state = observe(state, np.asarray([0.4, 0.5, NAN]), smoothing=0.75)
    assert state.step == 2
    np.testing.assert_allclose(state.uncertainty, [0.75 * 0.8 + 0.25 * 0.4, 0.5, 0.0])


def test_the_next_round_is_planned_from_what_was_known_when_this_one_began() -> None:
    before = {"step": 7, "round_start": 5, "cursors": [10, 0], "planned_from": [None, None]}
    before |= {"plan_next_from": [0.5, None], "uncertainty": [0.4, 0.2]}
    after = {"step": 7, "round_start": 7, "cursors": [13, 4], "planned_from": [0.5, None]}
    after |= {"plan_next_from": [0.4, 0.2], "uncertainty": [0.4, 0.2]}
    assert next_round(SamplerState.from_dict(before), [3, 4]).to_dict() == after


@pytest.mark.parametrize(
    ("sums", "candidates", "copy_from", "expected"),
    [
        ([1.5, 0.0, 0.0], [3, 0, 2], {}, [0.5, NAN, 0.0]),
        # A task without entropy is as uncertain as its source,
        ([0.3, 0.0, 0.9], [1, 1, 1], {1: 2}, [0.3, 0.9, 0.9]),
        # without a source as the others are on average,
        ([0.3, 0.0, 0.9], [1, 1, 1], {1: None}, [0.3, 0.6, 0.9]),
        # also where the source had no candidates.
        ([0.3, 0.0, 0.0], [1, 1, 0], {1: 2}, [0.3, 0.3, NAN]),
        ([0.3, 0.0, 0.9], [1, 0, 1], {1: 2}, [0.3, NAN, 0.9]),
        ([0.0, 0.0], [1, 1], {0: None, 1: None}, [NAN, NAN]),
    ],
)
def test_means_are_over_a_steps_candidates(
    sums: list[float], candidates: list[int], copy_from: dict[int, int | None], expected: list[float]
) -> None:
    means = mean_uncertainties(np.asarray(sums), np.asarray(candidates), "abc"[: len(sums)], copy_from)
    np.testing.assert_allclose(means, expected)


def test_a_diverged_task_is_named() -> None:
    with pytest.raises(ValueError, match=r"for task 'a', 'c' are not finite: .*; lower train.learning_rate"):
        mean_uncertainties(np.asarray([NAN, 0.0, np.inf]), np.ones(3), "abc", {})
