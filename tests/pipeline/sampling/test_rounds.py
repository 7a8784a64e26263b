"""The rows of a complete run, round after round, as the training loop requests them; no model and no Ray."""

import json
import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sampling.plan import Mixture, Plan
from pipeline.sampling.policies import POLICIES, PolicyOptions
from pipeline.sampling.state import SamplerState, next_round, observe
from tests.pipeline.sampling.rows import make_mixture

Row = tuple[int, int, int, int]  # step, rank, task, row
bounds = st.floats(0.2, 6)
any_bound = st.one_of(st.none(), bounds)


@st.composite
def mixtures(draw: st.DrawFn, max_epochs: st.SearchStrategy[float | None] = any_bound) -> Mixture:
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
    """The mean uncertainties of a step: arbitrary numbers, the same in every run of the mixture."""
    random = np.random.default_rng([mixture.seed, step])
    means = random.random(len(mixture.tasks)) * (random.random(len(mixture.tasks)) < 0.8)
    return np.where(random.random(len(mixture.tasks)) < 0.3, np.nan, means)


def rows_of(plan: Plan) -> list[Row]:
    columns = (plan.step, plan.rank, plan.task, plan.row)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@dataclass
class Steps:
    """A run's steps: the state after each as a checkpoint stores it, and the rows of all ranks."""

    states: list[str]
    rows: list[Row]

    @staticmethod
    def of(mixture: Mixture, saved: str | None = None) -> "Steps":
        """Walks through a run like `pipeline.training.loop`, each rank with its own part of the plan."""
        done = Steps([], [])
        state = (
            SamplerState.from_dict(json.loads(saved)) if saved else SamplerState.initial(len(mixture.tasks))
        )
        requested = mixture.current(state)
        while state.step < mixture.max_steps:
            plan = mixture.current(state)
            assert rows_of(plan) == rows_of(requested), "the round planned ahead is the one trained on"
            requested = mixture.upcoming(state)
            for rank in range(mixture.world_size):
                part = plan.of_rank(rank, after_step=state.step)
                assert bool((part.rank == rank).all())
                assert bool((np.diff(part.step) >= 0).all()), "in the order of steps"
                done.rows += rows_of(part)
            last = state.round_start + mixture.steps(state.round_start)
            while state.step < last:
                state = observe(state, measured(mixture, state.step + 1), smoothing=0.5)
                if state.step == last:
                    state = next_round(state, plan.drawn.tolist())
                done.states.append(json.dumps(state.to_dict()))
        done.rows.sort()
        return done

    def after(self, step: int) -> list[Row]:
        return [row for row in self.rows if row[0] > step]

    def of_task(self, task: int) -> list[Row]:
        return [row for row in self.rows if row[2] == task]


@settings(deadline=None, max_examples=60)
@given(mixtures())
def test_a_run_resumed_from_any_step_draws_the_same_rows_in_the_same_steps_and_ranks(
    mixture: Mixture,
) -> None:
    complete = Steps.of(mixture)
    assert len(complete.rows) == mixture.max_steps * mixture.candidates_per_step
    for step, state in enumerate(complete.states, start=1):
        resumed = Steps.of(mixture, state)
        assert resumed.rows == complete.after(step)
        assert resumed.states == complete.states[step:]


@settings(deadline=None, max_examples=60)
@given(mixtures(), st.data())
def test_a_run_resumed_with_other_workers_draws_the_same_rows_in_the_same_steps(
    mixture: Mixture, data: st.DataObject
) -> None:
    def without_ranks(rows: list[Row]) -> list[tuple[int, int, int]]:
        return sorted((step, task, row) for step, _, task, row in rows)

    complete = Steps.of(mixture)
    done = data.draw(st.integers(0, mixture.max_steps))
    workers = data.draw(st.integers(1, mixture.candidates_per_step))
    resumed = Steps.of(replace(mixture, world_size=workers), complete.states[done - 1] if done else None)
    assert without_ranks(resumed.rows) == without_ranks(complete.after(done))
    for step in range(done + 1, mixture.max_steps + 1):
        ranks = Counter(rank for number, rank, _, _ in resumed.rows if number == step)
        assert sorted(ranks) == list(range(workers)), "every rank has rows in every step"
        assert max(ranks.values()) - min(ranks.values()) <= 1


@settings(deadline=None, max_examples=60)
@given(mixtures())
def test_no_row_of_a_task_is_drawn_again_before_all_others_were(mixture: Mixture) -> None:
    complete = Steps.of(mixture)
    for task, size in enumerate(mixture.sizes):
        rows = np.asarray([row for _, _, _, row in complete.of_task(task)], dtype=np.int64)
        counts = np.bincount(rows, minlength=size)
        assert len(counts) == size, "every planned row exists"
        assert counts.max() - counts.min() <= 1


@settings(deadline=None, max_examples=100)
@given(mixtures(bounds))
def test_no_task_exceeds_its_bound_unless_the_run_is_too_long(mixture: Mixture) -> None:
    assert mixture.options.max_epochs is not None
    complete, rows = Steps.of(mixture), mixture.max_steps * mixture.candidates_per_step
    drawn = [len(complete.of_task(task)) for task in range(len(mixture.tasks))]
    most = [math.ceil(mixture.options.max_epochs * size) for size in mixture.sizes]
    if rows <= sum(most):
        assert all(count <= bound for count, bound in zip(drawn, most, strict=True))
    else:
        even = [rows * size / sum(mixture.sizes) for size in mixture.sizes]
        assert all(abs(count - target) <= 1 for count, target in zip(drawn, even, strict=True)), "all alike"


def test_a_tiny_task_is_spread_over_the_run_up_to_its_bound() -> None:
    changes = {"tasks": ("a", "b"), "sizes": (4, 4000), "candidates_per_step": 6, "max_steps": 60, "seed": 5}
    mixture = make_mixture(policy="uniform", options=PolicyOptions(max_epochs=3), **changes)
    steps = [step for step, _, _, _ in Steps.of(mixture).of_task(0)]
    assert len(steps) == 12
    assert min(steps) <= 10
    assert max(steps) >= 50
