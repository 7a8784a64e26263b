"""Task weights, and the state that follows from what was measured."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sampler import (
    POLICIES,
    PolicyOptions,
    SamplerState,
    fill_copied,
    next_round,
    observe,
    task_weights,
)

NAN = float("nan")
OPTIONS = PolicyOptions()


def weights(policy: str, sizes: list[int], means: list[float], **options: float) -> list[float]:
    return task_weights(policy, sizes, means, PolicyOptions(**options)).tolist()


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
    found = task_weights(policy, sizes, means, PolicyOptions(temperature=temperature, floor=max(floor, 1e-3)))
    assert found.shape == (len(tasks),)
    assert found.sum() == pytest.approx(1.0)
    assert bool((found > 0).all())


def test_what_gives_no_shares_is_named() -> None:
    with pytest.raises(
        ValueError, match="sampler policy 'entropy' is not known: use one of uniform, size, temp"
    ):
        task_weights("entropy", [1], [NAN], OPTIONS)
    with pytest.raises(ValueError, match="task number 1 has no training rows"):
        task_weights("uniform", [4, 0], [NAN, NAN], OPTIONS)


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
