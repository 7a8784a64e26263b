"""The plan of a round: every row in its turn, in the promised shares."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sampling.plan import Mixture, Plan
from tests.pipeline.sampling.rows import make_mixture

shares = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6).map(
    lambda values: np.asarray(values) / sum(values)
)


def plan_one(size: int, steps: int, *, name: str = "a", cursor: int = 0, **changes: Any) -> Plan:
    """The plan of a single task's round."""
    changes = {"tasks": (name,), "sizes": (size,), "candidates_per_step": 10, "round_steps": steps} | changes
    mixture = make_mixture(**changes)
    return mixture.plan(np.ones(1), [cursor], round_start=0)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Mixture, tuple[Any, ...]]:
    """A mixture, and the arguments of its `plan`."""
    weights = draw(shares)
    tasks = len(weights)
    world_size = draw(st.integers(1, 4))
    mixture = make_mixture(
        seed=draw(st.integers(0, 2**40)),
        tasks=tuple(f"task-{number}" for number in range(tasks)),
        sizes=tuple(draw(st.lists(st.integers(1, 60), min_size=tasks, max_size=tasks))),
        round_steps=draw(st.integers(1, 8)),
        candidates_per_step=draw(st.integers(world_size, 24)),
        max_steps=10_000,
        world_size=world_size,
    )
    cursors = draw(st.lists(st.integers(0, 200), min_size=tasks, max_size=tasks))
    return mixture, (weights, cursors, draw(st.integers(0, 1000)))


@settings(deadline=None)
@given(requests())
def test_a_plan_keeps_its_promises(request: tuple[Mixture, tuple[Any, ...]]) -> None:
    mixture, (weights, cursors, round_start) = request
    plan = mixture.plan(weights, cursors, round_start)
    per_step = mixture.candidates_per_step
    total = mixture.round_steps * per_step
    assert len(plan.step) == len(plan.rank) == len(plan.task) == len(plan.row) == total
    sizes = np.asarray(mixture.sizes)
    assert bool(((plan.row >= 0) & (plan.row < sizes[plan.task])).all()), "every planned row exists"
    assert plan.drawn.tolist() == np.bincount(plan.task, minlength=len(sizes)).tolist()
    assert bool((np.abs(plan.drawn - weights * total) < 1).all()), "totals follow the weights"
    steps = range(round_start + 1, round_start + 1 + mixture.round_steps)
    assert Counter(plan.step.tolist()) == dict.fromkeys(steps, per_step)
    for step in steps:
        ranks = np.bincount(plan.rank[plan.step == step], minlength=mixture.world_size)
        assert ranks.max() - ranks.min() <= 1, "ranks get equally many rows, within one"
        assert ranks.min() >= 1
    assert bool((np.diff(plan.step) >= 0).all()), "in the order of steps"


def test_a_task_keeps_its_order_when_others_come_and_go() -> None:
    alone = plan_one(20, 1, name="b", candidates_per_step=12)
    mixture = make_mixture(tasks=("a", "b"), sizes=(9, 20), round_steps=2, candidates_per_step=10)
    among = mixture.plan(np.asarray([0.4, 0.6]), [0, 0], round_start=0)
    assert sorted(alone.row.tolist()) == sorted(among.row[among.task == 1].tolist())


def test_every_step_holds_an_even_share_of_every_task() -> None:
    weights = np.asarray([0.5, 0.3, 0.2])
    mixture = make_mixture(round_steps=20, max_steps=20, candidates_per_step=20, sizes=(1000, 1000, 1000))
    plan = mixture.plan(weights, [0, 0, 0], round_start=0)
    for task, weight in enumerate(weights):
        per_step = np.bincount(plan.step[plan.task == task], minlength=21)[1:]
        assert np.abs(per_step - 20 * weight).max() <= 2


def test_a_round_at_the_end_of_the_run_is_short_or_empty() -> None:
    mixture = make_mixture(max_steps=8)
    assert set(mixture.plan(np.ones(3), [0, 0, 0], round_start=6).step.tolist()) == {7, 8}
    over = mixture.plan(np.ones(3), [0, 0, 0], round_start=8)
    assert len(over.step) == 0
    assert over.drawn.tolist() == [0, 0, 0]


def test_fewer_candidates_than_workers_are_rejected() -> None:
    with pytest.raises(ValueError, match="3 candidates per step cannot feed 4 workers"):
        plan_one(20, 1, candidates_per_step=3, world_size=4)
