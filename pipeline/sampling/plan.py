"""The plan of a round: the candidates of each step, and the rank that gets each of them.

A pure function of (seed, cursors, task weights): every rank computes it alone, the next round is planned while this
one trains, and a resumed run draws the same rows. T tasks, n planned rows.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.sampling.arrays import Floats, Ints
from pipeline.sampling.policies import PolicyOptions, task_weights
from pipeline.sampling.row_order import seeded_row
from pipeline.sampling.state import SamplerState


@dataclass(frozen=True)
class Plan:
    """Planned rows, ordered by step and then by rank.

    Attributes:
        step: optimiser step, counted from 1 over the run, [n].
        rank: the rank that gets the row, [n].
        task: task id, [n].
        row: index in the task's prepared training split, [n].
        weights: shares of the tasks that the round was planned with, [T].
        drawn: rows of each task in the round over all ranks, [T].
    """

    step: Ints
    rank: Ints
    task: Ints
    row: Ints
    weights: Floats
    drawn: Ints

    def of_rank(self, rank: int, after_step: int = 0) -> "Plan":
        """The rows of one rank in the steps after `after_step`."""
        keep = (self.rank == rank) & (self.step > after_step)
        columns = (self.step[keep], self.rank[keep], self.task[keep], self.row[keep])
        return Plan(*columns, self.weights, self.drawn)


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The mixture of tasks: everything that determines a run's plans except the sampler's state.

    Attributes:
        tasks: names, in the order of their ids, [T].
        sizes: training rows of each task, [T].
        policy, options: the task weights (`pipeline.sampling.policies`).
        candidates_per_step: rows drawn per step over all ranks.
        round_steps: steps planned together.
        max_steps: last step of the run.
        seed: seed of the run.
        world_size: number of ranks.
    """

    tasks: tuple[str, ...]
    sizes: tuple[int, ...]
    policy: str
    options: PolicyOptions
    candidates_per_step: int
    round_steps: int
    max_steps: int
    seed: int
    world_size: int

    def current(self, state: SamplerState) -> Plan:
        """The plan of the round that contains `state`."""
        weights = self.weights(state.planned_from, state.cursors, state.round_start)
        return self.plan(weights, state.cursors, state.round_start)

    def upcoming(self, state: SamplerState) -> Plan:
        """The plan of the round after it. It needs the rows drawn in the current round, but not its plan."""
        weights = self.weights(state.planned_from, state.cursors, state.round_start)
        drawn = apportion(weights, self.steps(state.round_start) * self.candidates_per_step)
        cursors = (np.asarray(state.cursors) + drawn).tolist()
        round_start = state.round_start + self.steps(state.round_start)
        return self.plan(self.weights(state.plan_next_from, cursors, round_start), cursors, round_start)

    def steps(self, round_start: int) -> int:
        """Number of steps of the round that begins after step `round_start`; 0 at `max_steps`."""
        return max(0, min(self.round_steps, self.max_steps - round_start))

    def weights(self, uncertainty: Sequence[float], cursors: Sequence[int], round_start: int) -> Floats:
        """The tasks' shares of the candidates of a round, [T]; arguments as in `SamplerState` and `plan`."""
        return task_weights(
            self.policy,
            self.tasks,
            self.sizes,
            uncertainty,
            self.options,
            drawn=cursors,
            rows_left=(self.max_steps - round_start) * self.candidates_per_step,
        )

    def plan(self, weights: Floats, cursors: Sequence[int], round_start: int) -> Plan:
        """Plans the round that begins after step `round_start`.

        Every task's total follows its weight within one row and is spread evenly over the steps. A task's rows come
        in a seeded order per epoch, one epoch after another; it depends on the task's name, not on its id. The rows
        of a step do not depend on `world_size`; they are dealt out task by task, so every rank gets an even share
        of every task.

        Args:
            weights: shares of the tasks, summing to 1, [T].
            cursors: rows drawn from each task before the round, over all epochs, [T].
            round_start: steps done before the round.

        Raises:
            ValueError: fewer candidates than ranks.
        """
        if self.candidates_per_step < self.world_size:
            raise ValueError(
                f"{self.candidates_per_step} candidates per step cannot feed {self.world_size} workers: "
                "raise train.batch_size or use fewer workers"
            )
        first_step, total = round_start + 1, self.steps(round_start) * self.candidates_per_step
        drawn = apportion(weights, total)
        task = np.repeat(np.arange(len(self.sizes)), drawn)
        number = np.arange(total) - np.repeat(np.cumsum(drawn) - drawn, drawn)  # 0, 1, … within each task
        offsets = np.random.default_rng([self.seed, first_step]).random(len(self.sizes))
        due = (number + offsets[task]) / drawn[task]  # the row's position within the round, 0 to 1
        order = np.lexsort((task, due))
        step_of_row = np.empty(total, dtype=np.int64)
        step_of_row[order] = np.arange(total) // self.candidates_per_step

        draw = np.asarray(cursors, dtype=np.int64)[task] + number
        size_of_row = np.asarray(self.sizes, dtype=np.int64)[task]
        keys = np.asarray([zlib.crc32(name.encode()) for name in self.tasks], dtype=np.uint64)[task]
        row = seeded_row(draw % size_of_row, size_of_row, keys, draw // size_of_row, self.seed)

        by_step = np.lexsort((number, task, step_of_row))
        rank = np.arange(total) % self.candidates_per_step % self.world_size
        by_rank = np.lexsort((rank, step_of_row[by_step]))
        final = by_step[by_rank]
        return Plan(first_step + step_of_row[final], rank[by_rank], task[final], row[final], weights, drawn)


def apportion(weights: Floats, total: int) -> Ints:
    """Integers [T] that sum to `total` and follow `weights` [T] within one (largest remainders)."""
    exact = weights / weights.sum() * total
    counts = np.floor(exact).astype(np.int64)
    missing = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts
