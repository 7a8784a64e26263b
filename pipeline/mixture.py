"""The plan of a round becomes each worker's candidate batches, carried by Ray Data.

Every rank runs one Ray Data execution a round over its own part of the plan: a small table of (step,
task, row) whose blocks are turned into token rows by Ray tasks anywhere in the cluster. The plan, not
the order of arrival, says which rank gets what. The next round is fetched while this one trains.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray

from camtl.token_rows import UNMARKED, TokenRows
from pipeline.fetch import Rows, fetch_block, fetch_rows
from pipeline.plan import Plan, apportion, plan_round
from pipeline.sampler import Floats, PolicyOptions, SamplerState, task_weights

ROWS_PER_BLOCK = 2048  # planned rows that one Ray task fetches
Fetch = Callable[[Plan], list[TokenRows]]


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Everything that a round's plan depends on, beside the sampler's state.

    Attributes:
        tasks: names, in the order of their ids.
        sizes: training rows of each task.
        policy, options: how tasks are weighted.
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

    def plan(self, uncertainty: Sequence[float], cursors: Sequence[int], round_start: int) -> Plan:
        """The round that begins after step `round_start`; empty once `max_steps` is reached."""
        return plan_round(
            seed=self.seed,
            tasks=self.tasks,
            sizes=self.sizes,
            cursors=cursors,
            weights=self._weights(uncertainty, cursors, round_start),
            first_step=round_start + 1,
            steps=self._steps(round_start),
            candidates_per_step=self.candidates_per_step,
            world_size=self.world_size,
        )

    def current(self, state: SamplerState) -> Plan:
        """The plan of the round that `state` is in."""
        return self.plan(state.planned_from, state.cursors, state.round_start)

    def upcoming(self, state: SamplerState, drawn: Sequence[int]) -> Plan:
        """The plan of the round after it; `drawn` rows of each task are in the current one."""
        cursors = [old + int(new) for old, new in zip(state.cursors, drawn, strict=True)]
        round_start = min(state.round_start + self.round_steps, self.max_steps)
        return self.plan(state.plan_next_from, cursors, round_start)

    def drawn(self, state: SamplerState) -> list[int]:
        """Rows of each task in the round that `state` is in, [T]; for that alone it need not be planned."""
        weights = self._weights(state.planned_from, state.cursors, state.round_start)
        drawn: list[int] = apportion(
            weights, self._steps(state.round_start) * self.candidates_per_step
        ).tolist()
        return drawn

    def _steps(self, round_start: int) -> int:
        return max(0, min(self.round_steps, self.max_steps - round_start))

    def _weights(self, uncertainty: Sequence[float], cursors: Sequence[int], round_start: int) -> Floats:
        return task_weights(
            self.policy,
            self.tasks,
            self.sizes,
            uncertainty,
            self.options,
            drawn=cursors,
            rows_left=(self.max_steps - round_start) * self.candidates_per_step,
        )


def token_rows(table: pa.Table) -> TokenRows:
    """Rows of `fetch_rows` as the model's host-side columns."""

    def column(name: str) -> pa.Array:
        return table[name].combine_chunks()

    input_ids, lengths, marks = column("input_ids"), column("encoding_lengths"), column("token_marks")
    token_marks = np.full(len(input_ids.flatten()), UNMARKED)
    is_marked = marks.value_lengths().to_numpy(zero_copy_only=False) > 0
    row_tokens = input_ids.value_lengths().to_numpy(zero_copy_only=False)
    token_marks[np.repeat(is_marked, row_tokens)] = marks.flatten().to_numpy()
    return TokenRows(
        input_ids=input_ids.flatten().to_numpy().astype(np.int64),
        token_type_ids=column("token_type_ids").flatten().to_numpy().astype(np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths.flatten().to_numpy())]).astype(np.int64),
        task_ids=column("task").to_numpy(),
        labels=column("label").to_numpy(zero_copy_only=False).astype(np.float32),
        row_ids=column("row_id").to_numpy(),
        encodings=lengths.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64),
        token_marks=token_marks,
    )


def split_by_step(rows: TokenRows, steps: NDArray[np.int64]) -> list[TokenRows]:
    """Rows ordered by step -> one set a step."""
    starts = np.flatnonzero(np.diff(steps, prepend=-1))
    return [
        rows.take(np.arange(begin, end)) for begin, end in zip(starts, [*starts[1:], len(steps)], strict=True)
    ]


def fetch_from_memory(sets: Sequence[Rows]) -> Fetch:
    """Rounds straight from sets of this process: no Ray, for a debugger and as the yardstick of speed."""
    by_task = dict(enumerate(sets))

    def fetch(plan: Plan) -> list[TokenRows]:
        return (
            split_by_step(token_rows(fetch_rows(by_task, plan.task, plan.row)), plan.step)
            if len(plan.row)
            else []
        )

    return fetch


def fetch_with_ray_data(sets: Sequence["ray.ObjectRef[Rows]"]) -> Fetch:
    """Rounds through Ray Data, from prepared sets in the object store: tables, or where to read them.

    The fetch raises ValueError where a file of a set that is read from disk is corrupt or not there.
    """

    def fetch(plan: Plan) -> list[TokenRows]:
        if not len(plan.row):
            return []
        planned = pa.table({"position": np.arange(len(plan.row)), "task": plan.task, "row": plan.row})
        # Rows that lie together are fetched together: a row group is read by one Ray task, or two.
        planned = planned.sort_by([("task", "ascending"), ("row", "ascending")])
        blocks = [
            planned.slice(start, ROWS_PER_BLOCK) for start in range(0, planned.num_rows, ROWS_PER_BLOCK)
        ]
        dataset = ray.data.from_arrow(blocks).map_batches(
            partial(fetch_block, sets=list(sets)), batch_size=None, batch_format="pyarrow"
        )
        batches: list[pa.Table] = list(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
        if problems := [batch for batch in batches if "problem" in batch.column_names]:
            raise ValueError(problems[0]["problem"][0].as_py())
        fetched = pa.concat_tables(batches).sort_by("position")
        if fetched.num_rows != len(plan.row):
            raise RuntimeError(f"Ray Data gave {fetched.num_rows} of {len(plan.row)} planned rows")
        return split_by_step(token_rows(fetched), plan.step)

    return fetch


@dataclass
class CandidateStream:
    """Rounds in the order they were asked for, planned and fetched in the background.

    Planning costs every rank the whole round: 5 ms for 10,000 rows, and half a second for a thousand workers.

    Attributes:
        fetch: turns a rank's part of a plan into one set of rows per step.
        seconds_waited: time spent waiting for rows so far.
    """

    fetch: Fetch
    seconds_waited: float = 0.0
    _pending: list[Future[tuple[Plan, list[TokenRows]]]] = field(default_factory=list)
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "fetch"))

    def request(self, make_plan: Callable[[], Plan]) -> None:
        """Start to plan and fetch a round (after those asked for before it)."""

        def work() -> tuple[Plan, list[TokenRows]]:
            plan = make_plan()
            return plan, self.fetch(plan)

        self._pending.append(self._thread.submit(work))

    def wait_for_first(self) -> None:
        """Wait until the round asked for first is there; this is start-up, and not counted as waiting."""
        self._pending[0].result()

    def next_round(self) -> tuple[Plan, list[TokenRows]]:
        """The plan of the next round and the candidates of each of its steps; waits until they are there."""
        began = time.perf_counter()
        try:
            return self._pending.pop(0).result()
        finally:
            self.seconds_waited += time.perf_counter() - began

    def close(self) -> None:
        """Drop what was asked for and not yet fetched."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def configure_ray_data() -> None:
    """Calm Ray Data for many short executions: no progress bars, no line per execution."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # "Progress bars disabled"
