"""Task weights, and the state that follows from what was measured."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sampling.policies import POLICIES, PolicyOptions, task_weights
from pipeline.sampling.state import SamplerState, fill_copied, mean_uncertainties, next_round, observe

NAN = float("nan")


def weights(
    policy: str,
    sizes: Sequence[int],
    means: Sequence[float],
    drawn: Sequence[int] | None = None,
    rows_left: int = 100,
    **options: Any,
) -> list[float]:
    names = [f"task-{number}" for number in range(len(sizes))]
    return task_weights(
        policy,
        names,
        sizes,
        means,
        PolicyOptions(**options),
        drawn=drawn or [0] * len(sizes),
        rows_left=rows_left,
    ).tolist()


def test_policies_by_hand() -> None:
    sizes, means = [900, 100], [0.2, 0.6]
    assert weights("uniform", sizes, means) == [0.5, 0.5]
    assert weights("size", sizes, means) == pytest.approx([0.9, 0.1])
    assert weights("temperature", sizes, means, temperature=2.0) == pytest.approx([0.75, 0.25])
    assert weights("temperature", sizes, means, temperature=1.0) == pytest.approx([0.9, 0.1])
    assert weights("uncertainty", sizes, means, floor=0.0) == pytest.approx([0.25, 0.75])
    assert weights("uncertainty", sizes, means, floor=0.1) == pytest.approx(
        [0.1 + 0.8 * 0.25, 0.1 + 0.8 * 0.75]
    )


def test_a_task_of_factor_3_is_drawn_as_three_under_any_policy() -> None:
    sizes, means, factors = [900, 100], [0.2, 0.6], (1.0, 3.0)
    assert weights("uniform", sizes, means, factors=factors) == pytest.approx([1 / 4, 3 / 4])
    assert weights("size", sizes, means, factors=factors) == pytest.approx([0.75, 0.25])
    assert weights("uncertainty", sizes, means, floor=0.0, factors=factors) == pytest.approx([0.1, 0.9])


def test_a_task_that_was_not_measured_counts_as_the_mean_of_the_others() -> None:
    assert weights("uncertainty", [5, 5, 5], [0.2, NAN, 0.6], floor=0.0) == pytest.approx(
        [1 / 6, 1 / 3, 1 / 2]
    )
    assert weights("uncertainty", [5, 5], [NAN, NAN]) == pytest.approx([0.5, 0.5])


def test_certainty_of_every_task_gives_even_weights() -> None:
    assert weights("uncertainty", [5, 9], [0.0, 0.0]) == [0.5, 0.5]


def test_no_task_starves() -> None:
    given_weights = weights("uncertainty", [5] * 4, [0.0, 0.0, 0.0, 1.0], floor=0.02)
    assert given_weights == pytest.approx([0.02, 0.02, 0.02, 0.94])
    assert weights("uncertainty", [5] * 4, [0.0, 0.0, 0.0, 1.0], floor=0.9) == pytest.approx([0.25] * 4)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(POLICIES)),
    st.lists(
        st.tuples(st.integers(1, 10**7), st.one_of(st.just(NAN), st.floats(0, 1))), min_size=1, max_size=30
    ),
    st.floats(0.5, 20),
    st.floats(0, 0.5),
)
def test_weights_are_positive_shares(
    policy: str, tasks: list[tuple[int, float]], temperature: float, floor: float
) -> None:
    sizes, means = zip(*tasks, strict=True)
    found = weights(policy, sizes, means, temperature=temperature, floor=max(floor, 1e-3))
    assert len(found) == len(tasks)
    assert sum(found) == pytest.approx(1.0)
    assert min(found) > 0


def test_what_gives_no_shares_is_named() -> None:
    with pytest.raises(
        ValueError, match="sampler policy 'entropy' is not known: use one of uniform, size, temp"
    ):
        weights("entropy", [1], [NAN])
    with pytest.raises(ValueError, match="task 'task-1' has no training rows"):
        weights("uniform", [4, 0], [NAN, NAN])


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), -0.5])
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_an_uncertainty_that_is_none_names_its_task(policy: str, value: float) -> None:
    told = rf"uncertainty of a task has to be finite and 0 or more, and is for 'task-2' {value}$"
    with pytest.raises(ValueError, match=told):
        weights(policy, [4, 4, 4], [0.5, NAN, value])


def test_a_weight_that_is_not_finite_names_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "broken", lambda sizes, *_: np.where(sizes > 4, np.nan, 1.0))
    with pytest.raises(ValueError, match=r"weight under sampler policy 'broken' .* is for 'task-1' nan"):
        weights("broken", [4, 5], [0.5, 0.5])


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_bound_on_epochs_holds_under_any_policy(policy: str) -> None:
    free, bound = weights(policy, [5, 500], [0.9, 0.3]), weights(policy, [5, 500], [0.9, 0.3], max_epochs=2)
    assert bound == pytest.approx([min(free[0], 10 / 100), max(free[1], 90 / 100)])
    assert weights(policy, [5, 500], [0.9, 0.3], drawn=[10, 0], max_epochs=2) == [0.0, 1.0]


def test_one_task_gets_everything_whatever_bounds_it() -> None:
    for policy in POLICIES:
        assert weights(policy, [1], [NAN]) == weights(policy, [1], [0.0], max_epochs=1) == [1.0]


def make_state(**changes: object) -> SamplerState:
    fields: dict[str, object] = {
        "step": 7,
        "round_start": 5,
        "cursors": (10, 0),
        "planned_from": (NAN, NAN),
        "plan_next_from": (0.5, NAN),
        "uncertainty": (0.4, 0.25),
    }
    return SamplerState(**{**fields, **changes})  # type: ignore[arg-type]


numbers = st.one_of(st.just(NAN), st.floats(0, 1))


@settings(deadline=None)
@given(st.integers(1, 6).flatmap(lambda tasks: st.tuples(*[st.tuples(*[numbers] * tasks)] * 3)), st.data())
def test_a_state_survives_json(uncertainties: tuple[tuple[float, ...], ...], data: st.DataObject) -> None:
    tasks = len(uncertainties[0])
    state = SamplerState(
        step=data.draw(st.integers(0, 10**6)),
        round_start=data.draw(st.integers(0, 10**6)),
        cursors=tuple(data.draw(st.lists(st.integers(0, 10**12), min_size=tasks, max_size=tasks))),
        planned_from=uncertainties[0],
        plan_next_from=uncertainties[1],
        uncertainty=uncertainties[2],
    )
    text = json.dumps(state.to_dict(), allow_nan=False)
    restored = SamplerState.from_dict(json.loads(text))
    assert repr(restored) == repr(state)  # equality, with NaN equal to NaN


def test_the_first_mean_counts_whole_and_later_ones_are_smoothed() -> None:
    state = observe(SamplerState.initial(3), np.asarray([0.8, NAN, 0.0]), smoothing=0.75)
    assert state.step == 1
    np.testing.assert_array_equal(state.uncertainty, [0.8, NAN, 0.0])
    state = observe(state, np.asarray([0.4, 0.5, NAN]), smoothing=0.75)
    assert state.step == 2
    np.testing.assert_allclose(state.uncertainty, [0.75 * 0.8 + 0.25 * 0.4, 0.5, 0.0])


def test_means_are_over_a_steps_candidates_and_a_diverged_task_is_named() -> None:
    found = mean_uncertainties(np.asarray([1.5, 0.0, 0.0]), np.asarray([3.0, 0.0, 2.0]), ["a", "b", "c"])
    np.testing.assert_array_equal(found, [0.5, NAN, 0.0])
    with pytest.raises(ValueError, match=r"for task 'a', 'c' are not finite: .*; lower train.learning_rate"):
        mean_uncertainties(np.asarray([NAN, 0.0, np.inf]), np.ones(3), ["a", "b", "c"])


def test_a_task_without_entropy_is_as_uncertain_as_its_source() -> None:
    means = np.asarray([0.3, 0.0, 0.9])
    np.testing.assert_allclose(fill_copied(means, {1: 2}), [0.3, 0.9, 0.9])
    np.testing.assert_allclose(fill_copied(means, {1: None}), [0.3, 0.6, 0.9])
    assert means[1] == 0.0, "the argument is left as it was"


def test_an_absent_source_leaves_the_mean_of_the_others() -> None:
    np.testing.assert_array_equal(fill_copied(np.asarray([0.3, 0.0, NAN]), {1: 2}), [0.3, 0.3, NAN])
    np.testing.assert_array_equal(fill_copied(np.asarray([0.3, NAN, 0.9]), {1: 2}), [0.3, NAN, 0.9])
    np.testing.assert_array_equal(fill_copied(np.asarray([0.0, 0.0]), {0: None, 1: None}), [NAN, NAN])


def test_the_next_round_is_planned_from_what_was_known_when_this_one_began() -> None:
    state = next_round(make_state(), [3, 4])
    assert state.round_start == 7
    assert state.cursors == (13, 4)
    np.testing.assert_array_equal(state.planned_from, (0.5, NAN))
    np.testing.assert_array_equal(state.plan_next_from, (0.4, 0.25))
    assert state.uncertainty == (0.4, 0.25)
