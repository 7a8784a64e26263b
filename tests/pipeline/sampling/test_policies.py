"""Task weights under each policy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sampling.policies import POLICIES, PolicyOptions, task_weights

NAN = float("nan")


def weights(
    policy: str,
    sizes: Sequence[int],
    means: Sequence[float],
    drawn: Sequence[int] | None = None,
    **options: Any,
) -> list[float]:
    return task_weights(
        policy,
        [f"task-{number}" for number in range(len(sizes))],
        sizes,
        means,
        PolicyOptions(**options),
        drawn=drawn or [0] * len(sizes),
        rows_left=100,
    ).tolist()


@pytest.mark.parametrize(
    ("policy", "means", "options", "expected"),
    [
        ("uniform", [0.2, 0.6], {}, [0.5, 0.5]),
        ("size", [0.2, 0.6], {}, [0.9, 0.1]),
        ("temperature", [0.2, 0.6], {"temperature": 2.0}, [0.75, 0.25]),
        ("temperature", [0.2, 0.6], {"temperature": 1.0}, [0.9, 0.1]),
        ("uncertainty", [0.2, 0.6], {"floor": 0.0}, [0.25, 0.75]),
        ("uncertainty", [0.2, 0.6], {"floor": 0.1}, [0.1 + 0.8 * 0.25, 0.1 + 0.8 * 0.75]),
        ("uncertainty", [0.0, 1.0], {"floor": 0.02}, [0.02, 0.98]),  # no task starves
        ("uncertainty", [0.0, 1.0], {"floor": 0.9}, [0.5, 0.5]),
        ("uncertainty", [0.0, 0.0], {}, [0.5, 0.5]),
        ("uncertainty", [NAN, NAN], {}, [0.5, 0.5]),
        # A task never measured counts as the mean of the others.
        ("uncertainty", [0.2, NAN, 0.6], {"floor": 0.0}, [1 / 6, 1 / 3, 1 / 2]),
        # A task of factor 3 is drawn as three.
        ("uniform", [0.2, 0.6], {"factors": (1.0, 3.0)}, [1 / 4, 3 / 4]),
        ("size", [0.2, 0.6], {"factors": (1.0, 3.0)}, [0.75, 0.25]),
        ("uncertainty", [0.2, 0.6], {"factors": (1.0, 3.0), "floor": 0.0}, [0.1, 0.9]),
    ],
)
def test_weights_by_hand(
    policy: str, means: list[float], options: dict[str, Any], expected: list[float]
) -> None:
    assert weights(policy, [900, 100, 50][: len(means)], means, **options) == pytest.approx(expected)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(POLICIES)),
    st.lists(
        st.tuples(st.integers(1, 10**7), st.one_of(st.just(NAN), st.floats(0, 1))), min_size=1, max_size=30
    ),
    st.floats(0.5, 20),
    st.floats(1e-3, 0.5),
)
def test_weights_are_positive_shares(
    policy: str, tasks: list[tuple[int, float]], temperature: float, floor: float
) -> None:
    sizes, means = zip(*tasks, strict=True)
    found = weights(policy, sizes, means, temperature=temperature, floor=floor)
    assert len(found) == len(tasks)
    assert sum(found) == pytest.approx(1.0)
    assert min(found) > 0


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_bound_on_epochs_holds_under_any_policy(policy: str) -> None:
    free, bound = weights(policy, [5, 500], [0.9, 0.3]), weights(policy, [5, 500], [0.9, 0.3], max_epochs=2)
    assert bound == pytest.approx([min(free[0], 10 / 100), max(free[1], 90 / 100)])
    assert weights(policy, [5, 500], [0.9, 0.3], drawn=[10, 0], max_epochs=2) == [0.0, 1.0]
    assert weights(policy, [1], [NAN]) == weights(policy, [1], [0.0], max_epochs=1) == [1.0]


@pytest.mark.parametrize(
    ("policy", "sizes", "means", "error"),
    [
        ("entropy", [1], [NAN], "sampler policy 'entropy' is not known: use one of uniform, size, temp"),
        ("uniform", [4, 0], [NAN, NAN], "task 'task-1' has no training rows"),
        ("broken", [4, 5], [0.5, 0.5], r"weight under sampler policy 'broken' .* is for 'task-1' nan$"),
        *[
            (policy, [4, 4, 4], [0.5, NAN, value], f"uncertainty of a task .* is for 'task-2' {value}$")
            for policy in sorted(POLICIES)
            for value in (float("inf"), float("-inf"), -0.5)
        ],
    ],
)
def test_invalid_values_name_their_task(
    monkeypatch: pytest.MonkeyPatch, policy: str, sizes: list[int], means: list[float], error: str
) -> None:
    monkeypatch.setitem(POLICIES, "broken", lambda sizes, *_: np.where(sizes > 4, np.nan, 1.0))
    with pytest.raises(ValueError, match=error):
        weights(policy, sizes, means)
