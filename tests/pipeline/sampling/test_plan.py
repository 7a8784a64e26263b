"""The plan of a round: every row in its turn, in the promised shares, the same for any number of workers."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sampling.plan import Plan, apportion, plan_round, seeded_permutation

shares = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6).map(
    lambda values: np.asarray(values) / sum(values)
)


def make_plan(**changes: Any) -> Plan:
    arguments: dict[str, Any] = {
        "seed": 1,
        "tasks": ["a", "b", "c"],
        "sizes": [50, 7, 20],
        "cursors": [0, 0, 0],
        "weights": np.asarray([0.5, 0.3, 0.2]),
        "first_step": 1,
        "steps": 4,
        "candidates_per_step": 10,
        "world_size": 1,
    }
    return plan_round(**{**arguments, **changes})


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    weights = draw(shares)
    tasks = len(weights)
    world_size = draw(st.integers(1, 4))
    return {
        "seed": draw(st.integers(0, 2**40)),
        "tasks": [f"task-{number}" for number in range(tasks)],
        "sizes": draw(st.lists(st.integers(1, 60), min_size=tasks, max_size=tasks)),
        "cursors": draw(st.lists(st.integers(0, 200), min_size=tasks, max_size=tasks)),
        "weights": weights,
        "first_step": draw(st.integers(1, 1000)),
        "steps": draw(st.integers(1, 8)),
        "candidates_per_step": draw(st.integers(world_size, 24)),
        "world_size": world_size,
    }


def entries(plan: Plan) -> list[tuple[int, int, int]]:
    """(step, task, row) of every planned row, sorted."""
    return sorted(zip(plan.step.tolist(), plan.task.tolist(), plan.row.tolist(), strict=True))


@settings(deadline=None)
@given(requests())
def test_a_plan_holds_what_it_promises(request: dict[str, Any]) -> None:
    plan = make_plan(**request)
    steps, per_step = request["steps"], request["candidates_per_step"]
    total = steps * per_step
    assert len(plan.step) == len(plan.rank) == len(plan.task) == len(plan.row) == total
    sizes = np.asarray(request["sizes"])
    assert bool(((plan.row >= 0) & (plan.row < sizes[plan.task])).all()), "every planned row exists"
    assert plan.drawn.tolist() == np.bincount(plan.task, minlength=len(sizes)).tolist()
    assert bool((np.abs(plan.drawn - request["weights"] * total) < 1).all()), "totals follow the weights"
    first = request["first_step"]
    assert Counter(plan.step.tolist()) == dict.fromkeys(range(first, first + steps), per_step)
    for step in range(first, first + steps):
        ranks = np.bincount(plan.rank[plan.step == step], minlength=request["world_size"])
        assert ranks.max() - ranks.min() <= 1, "ranks get as many rows, within one"
        assert ranks.min() >= 1
    assert bool((np.diff(plan.step) >= 0).all())


@settings(deadline=None)
@given(requests(), st.integers(1, 4))
def test_the_rows_of_a_step_are_the_same_for_any_number_of_workers(
    request: dict[str, Any], others: int
) -> None:
    request["candidates_per_step"] = max(request["candidates_per_step"], others)
    assert entries(make_plan(**request)) == entries(make_plan(**{**request, "world_size": others}))


@settings(deadline=None)
@given(requests())
def test_ranks_share_the_plan_without_rest_or_overlap(request: dict[str, Any]) -> None:
    plan = make_plan(**request)
    parts = [plan.of_rank(rank) for rank in range(request["world_size"])]
    assert sorted(entry for part in parts for entry in entries(part)) == entries(plan)
    for rank, part in enumerate(parts):
        assert set(part.rank.tolist()) == {rank}
        assert bool((np.diff(part.step) >= 0).all()), "in the order of steps"


@settings(deadline=None)
@given(requests(), st.integers(0, 8))
def test_going_on_after_a_step_leaves_out_exactly_the_steps_before(
    request: dict[str, Any], done: int
) -> None:
    plan = make_plan(**request)
    after = request["first_step"] - 1 + done
    rest = plan.of_rank(0, after_step=after)
    whole = plan.of_rank(0)
    keep = whole.step > after
    for name in ("step", "rank", "task", "row"):
        np.testing.assert_array_equal(getattr(rest, name), getattr(whole, name)[keep])


@settings(deadline=None)
@given(requests())
def test_planning_again_gives_the_same_plan(request: dict[str, Any]) -> None:
    first, second = make_plan(**request), make_plan(**request)
    for name in ("step", "rank", "task", "row", "drawn"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@settings(deadline=None, max_examples=30)
@given(requests(), st.lists(shares, min_size=2, max_size=6), st.data())
def test_rounds_draw_every_row_of_a_task_once_per_epoch(
    request: dict[str, Any], rounds: list[np.ndarray], data: st.DataObject
) -> None:
    """Over consecutive rounds of other weights, lengths and worker counts."""
    tasks = len(request["sizes"])
    cursors, drawn = np.zeros(tasks, dtype=np.int64), [[] for _ in range(tasks)]  # type: ignore[var-annotated]
    step = 1
    for weights in rounds:
        resized = np.resize(weights, tasks)
        steps = data.draw(st.integers(1, 5))
        change = {"cursors": cursors, "weights": resized / resized.sum(), "first_step": step, "steps": steps}
        plan = make_plan(**{**request, **change})
        for task in range(tasks):
            drawn[task] += plan.row[plan.task == task].tolist()
        cursors = cursors + plan.drawn
        step += steps
    for task, size in enumerate(request["sizes"]):
        whole_epochs = len(drawn[task]) // size
        counts = np.bincount(drawn[task], minlength=size)
        # Rounds follow each other, but inside of one the order is by step and rank: count, don't slice.
        assert counts.min() >= whole_epochs
        assert counts.max() <= -(-len(drawn[task]) // size)


def test_a_tasks_rows_come_in_another_order_in_the_next_epoch_and_for_another_seed() -> None:
    def order(seed: int, cursor: int) -> list[int]:
        plan = make_plan(
            seed=seed,
            tasks=["a"],
            sizes=[40],
            cursors=[cursor],
            weights=np.ones(1),
            steps=4,
            candidates_per_step=10,
        )
        return plan.row.tolist()

    first = order(1, 0)
    assert sorted(first) == sorted(order(1, 40)) == sorted(order(2, 0)) == list(range(40))
    assert first != list(range(40))
    assert len({tuple(order(seed, cursor)) for seed in (1, 2) for cursor in (0, 40)}) == 4


def test_a_task_keeps_its_order_when_others_come_and_go() -> None:
    alone = make_plan(
        tasks=["b"], sizes=[20], cursors=[0], weights=np.ones(1), steps=1, candidates_per_step=12
    )
    among = make_plan(
        tasks=["a", "b"],
        sizes=[9, 20],
        cursors=[0, 0],
        weights=np.asarray([0.4, 0.6]),
        steps=2,
        candidates_per_step=10,
    )
    assert sorted(alone.row.tolist()) == sorted(among.row[among.task == 1].tolist())


def test_every_step_holds_an_even_share_of_every_task() -> None:
    plan = make_plan(steps=20, candidates_per_step=20, sizes=[1000, 1000, 1000])
    for task, weight in enumerate((0.5, 0.3, 0.2)):
        per_step = [int(((plan.step == step) & (plan.task == task)).sum()) for step in range(1, 21)]
        assert max(abs(count - 20 * weight) for count in per_step) <= 2


def test_a_round_without_steps_is_empty() -> None:
    plan = make_plan(steps=0)
    assert len(plan.step) == 0
    assert plan.drawn.tolist() == [0, 0, 0]


def test_fewer_candidates_than_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="3 candidates a step cannot feed 4 workers"):
        make_plan(candidates_per_step=3, world_size=4)


@settings(deadline=None)
@given(shares, st.integers(0, 5000))
def test_apportioned_rows_sum_up_and_follow_the_weights(weights: np.ndarray, total: int) -> None:
    counts = apportion(weights, total)
    assert counts.sum() == total
    assert bool((counts >= 0).all())
    assert bool((np.abs(counts - weights * total) < 1 + 1e-9).all())


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(0, 2**32 - 1), st.integers(0, 1000), st.integers(0, 2**62))
def test_the_seeded_order_is_a_permutation(size: int, key: int, epoch: int, seed: int) -> None:
    order = permutation(size, key, epoch, seed)
    assert sorted(order) == list(range(size))


def permutation(size: int, key: int, epoch: int, seed: int) -> list[int]:
    position = np.arange(size)
    return seeded_permutation(
        position, np.full(size, size), np.full(size, key, dtype=np.uint64), np.full(size, epoch), seed
    ).tolist()


def test_single_positions_are_where_the_whole_order_has_them() -> None:
    whole = permutation(100, 5, 2, 9)
    some = np.asarray([3, 99, 0])
    found = seeded_permutation(some, np.full(3, 100), np.full(3, 5, dtype=np.uint64), np.full(3, 2), 9)
    assert found.tolist() == [whole[place] for place in some]


def test_the_seeded_order_looks_random() -> None:
    """No row prefers an early place: over many epochs, each comes first about as often as any other."""
    firsts = Counter(permutation(10, 7, epoch, 3)[0] for epoch in range(2000))
    expected = 2000 / 10
    assert sum((firsts[row] - expected) ** 2 / expected for row in range(10)) < 40  # chi-square of 9 degrees


@pytest.mark.parametrize(("key", "epoch", "seed"), [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_key_epoch_and_seed_each_change_the_order(key: int, epoch: int, seed: int) -> None:
    assert permutation(50, key, epoch, seed) != permutation(50, 0, 0, 0)
