"""The rows of a whole run, round after round, as the training loop asks for them; no model and no Ray."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sampling.plan import Mixture, Plan
from pipeline.sampling.policies import POLICIES, PolicyOptions
from pipeline.sampling.state import SamplerState, next_round, observe

Row = tuple[int, int, int, int]  # step, rank, task, row


def make_mixture(**changes: Any) -> Mixture:
    mixture = Mixture(
        tasks=("a", "b"),
        sizes=(7, 40),
        policy="uncertainty",
        options=PolicyOptions(),
        candidates_per_step=6,
        round_steps=3,
        max_steps=10,
        seed=5,
        world_size=2,
    )
    return replace(mixture, **changes)


bounds = st.floats(0.2, 6)
perhaps_bounds = st.one_of(st.none(), bounds)


@st.composite
def mixtures(draw: st.DrawFn, max_epochs: st.SearchStrategy[float | None] = perhaps_bounds) -> Mixture:
    tasks = draw(st.integers(1, 5))
    world_size = draw(st.integers(1, 4))
    return Mixture(
        tasks=tuple(f"task-{number}" for number in range(tasks)),
        sizes=tuple(draw(st.lists(st.integers(1, 60), min_size=tasks, max_size=tasks))),
        policy=draw(st.sampled_from(sorted(POLICIES))),
        options=PolicyOptions(
            temperature=draw(st.floats(0.5, 5)),
            floor=draw(st.sampled_from([0.0, 0.02, 0.3])),
            max_epochs=draw(max_epochs),
        ),
        candidates_per_step=draw(st.integers(world_size, 16)),
        round_steps=draw(st.integers(1, 6)),
        max_steps=draw(st.integers(1, 20)),
        seed=draw(st.integers(0, 2**32 - 1)),
        world_size=world_size,
    )


def measured(mixture: Mixture, step: int) -> np.ndarray:
    """What the model's uncertainty would be at a step: any numbers, the same in every run of the mixture."""
    random = np.random.default_rng([mixture.seed, step])
    means = random.random(len(mixture.tasks)) * (random.random(len(mixture.tasks)) < 0.8)
    return np.where(random.random(len(mixture.tasks)) < 0.3, np.nan, means)


def rows_of(plan: Plan) -> list[Row]:
    columns = (plan.step, plan.rank, plan.task, plan.row)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@dataclass
class Steps:
    """A run's steps: the state after each, as a checkpoint holds it, and the rows of all ranks."""

    states: list[str]
    rows: list[Row]

    @staticmethod
    def of(mixture: Mixture, state: SamplerState | None = None) -> "Steps":
        """As `pipeline.training.loop.train_on_rank` goes through them, each rank with its own part of the plan."""
        done = Steps([], [])
        state = state or SamplerState.initial(len(mixture.tasks))
        asked = mixture.current(state)
        while state.step < mixture.max_steps:
            plan, asked_before = mixture.current(state), asked
            assert rows_of(plan) == rows_of(asked_before), "what was asked for ahead is what is trained on"
            asked = mixture.upcoming(state, plan.drawn.tolist())
            for rank in range(mixture.world_size):
                done.rows += rows_of(plan.of_rank(rank, after_step=state.step))
            last = min(state.round_start + mixture.round_steps, mixture.max_steps)
            while state.step < last:
                state = observe(state, measured(mixture, state.step + 1), smoothing=0.5)
                if state.step == last:
                    state = next_round(state, plan.drawn.tolist())
                done.states.append(json.dumps(state.to_dict()))
        done.rows.sort()
        return done

    def after(self, step: int) -> list[Row]:
        return [row for row in self.rows if row[0] > step]

    def drawn(self, mixture: Mixture) -> list[int]:
        """Rows of each task in the whole run."""
        counted = Counter(task for _, _, task, _ in self.rows)
        return [counted[task] for task in range(len(mixture.tasks))]


def restored(text: str) -> SamplerState:
    return SamplerState.from_dict(json.loads(text))


@settings(deadline=None, max_examples=60)
@given(mixtures())
def test_a_run_that_goes_on_from_any_step_draws_the_same_rows_in_the_same_steps_and_ranks(
    mixture: Mixture,
) -> None:
    whole = Steps.of(mixture)
    assert len(whole.rows) == mixture.max_steps * mixture.candidates_per_step
    for step, state in enumerate(whole.states, start=1):
        resumed = Steps.of(mixture, restored(state))
        assert resumed.rows == whole.after(step)
        assert resumed.states == whole.states[step:]


@settings(deadline=None, max_examples=60)
@given(mixtures(), st.data())
def test_a_run_that_goes_on_with_other_workers_draws_the_same_rows_in_the_same_steps(
    mixture: Mixture, data: st.DataObject
) -> None:
    whole = Steps.of(mixture)
    step = data.draw(st.integers(0, mixture.max_steps))
    workers = data.draw(st.integers(1, mixture.candidates_per_step))
    resumed = Steps.of(
        replace(mixture, world_size=workers), restored(whole.states[step - 1]) if step else None
    )
    assert without_ranks(resumed.rows) == without_ranks(whole.after(step))
    for at in range(step + 1, mixture.max_steps + 1):
        ranks = Counter(rank for number, rank, _, _ in resumed.rows if number == at)
        assert sorted(ranks) == list(range(workers)), "every rank has rows in every step"
        assert max(ranks.values()) - min(ranks.values()) <= 1


def without_ranks(rows: list[Row]) -> list[tuple[int, int, int]]:
    return sorted((step, task, row) for step, _, task, row in rows)


@settings(deadline=None, max_examples=60)
@given(mixtures())
def test_over_a_whole_run_no_row_of_a_task_comes_again_before_all_others_came(mixture: Mixture) -> None:
    whole = Steps.of(mixture)
    for task, size in enumerate(mixture.sizes):
        in_order = [row for _, _, of, row in whole.rows if of == task]
        counts = np.bincount(in_order, minlength=size) if in_order else np.zeros(size)
        assert len(counts) == size, "every planned row exists"
        assert counts.max() - counts.min() <= 1
        assert int((counts > 0).sum()) == min(len(in_order), size), "what results.json counts as distinct"


@settings(deadline=None, max_examples=100)
@given(mixtures(bounds))
def test_no_task_is_drawn_beyond_its_bound_while_the_run_can_keep_it(mixture: Mixture) -> None:
    assert mixture.options.max_epochs is not None
    drawn, rows = Steps.of(mixture).drawn(mixture), mixture.max_steps * mixture.candidates_per_step
    most = [math.ceil(mixture.options.max_epochs * size) for size in mixture.sizes]
    if rows <= sum(most):
        assert all(of <= bound for of, bound in zip(drawn, most, strict=True))
    else:
        even = [rows * size / sum(mixture.sizes) for size in mixture.sizes]
        assert all(abs(of - target) <= 1 for of, target in zip(drawn, even, strict=True)), "all alike"


def test_a_tiny_task_is_spread_over_the_run_up_to_its_bound() -> None:
    mixture = make_mixture(
        sizes=(4, 4000), policy="uniform", options=PolicyOptions(max_epochs=3), max_steps=60
    )
    steps = [step for step, _, task, _ in Steps.of(mixture).rows if task == 0]
    assert len(steps) == 12
    assert min(steps) <= 10
    assert max(steps) >= 50


def test_a_task_with_fewer_rows_than_a_batch_repeats_them_within_a_step() -> None:
    mixture = make_mixture(sizes=(2, 40), policy="uniform", candidates_per_step=16, max_steps=3)
    for step in (1, 2, 3):
        rows = [row for at, _, task, row in Steps.of(mixture).rows if at == step and task == 0]
        assert len(rows) > 2
        assert set(rows) == {0, 1}


@pytest.mark.parametrize("workers", [1, 5])
def test_one_row_feeds_every_worker_in_every_step(workers: int) -> None:
    mixture = make_mixture(tasks=("a",), sizes=(1,), world_size=workers, max_steps=4)
    rows = Steps.of(mixture).rows
    assert Counter((step, rank) for step, rank, _, _ in rows).keys() == set(steps_and_ranks(4, workers))
    assert {row for _, _, _, row in rows} == {0}


def steps_and_ranks(steps: int, workers: int) -> Iterator[tuple[int, int]]:
    return ((step, rank) for step in range(1, steps + 1) for rank in range(workers))
