"""From a plan to each step's candidates: the planned rows, whole and in their order, however they are fetched."""

import threading
from functools import partial

import numpy as np
import pytest
import ray

from camtl import TokenRows
from pipeline.sampling import ray_data
from pipeline.sampling.batches import fetch_from_memory, split_by_step
from pipeline.sampling.plan import Mixture, Plan
from pipeline.sampling.ray_data import fetch_with_ray_data
from pipeline.sampling.state import SamplerState, next_round, observe
from pipeline.sampling.stream import CandidateStream
from tests.toy import make_job, make_rows, make_table

SIZES = (40, 9, 24)
TABLES = [make_table(task, rows) for task, rows in enumerate(SIZES)]


def make_mixture(**changes: object) -> Mixture:
    return make_job("", SIZES, **changes).mixture


def assert_same(left: TokenRows, right: TokenRows) -> None:
    for name in ("input_ids", "token_type_ids", "offsets", "task_ids", "labels", "row_ids"):
        found, expected = getattr(left, name), getattr(right, name)
        np.testing.assert_array_equal(found, expected, err_msg=name)
        assert found.dtype == expected.dtype, name


def make_plan(world_size: int = 1, **changes: object) -> Plan:
    state = SamplerState.initial(len(SIZES))
    return make_mixture(world_size=world_size, **changes).current(state)


def test_candidates_are_the_planned_rows_in_their_order() -> None:
    plan = make_plan()
    steps = fetch_from_memory(TABLES)(plan)
    assert [len(rows) for rows in steps] == [16, 16, 16]
    flat = TokenRows.concatenate(steps)
    assert flat.task_ids.tolist() == plan.task.tolist()
    for place, (task, row) in enumerate(zip(plan.task, plan.row, strict=True)):
        expected = TABLES[task].slice(row, 1).to_pylist()[0]
        tokens = slice(flat.offsets[place], flat.offsets[place + 1])
        assert flat.input_ids[tokens].tolist() == expected["input_ids"]
        assert flat.token_type_ids[tokens].tolist() == expected["token_type_ids"]
        assert flat.labels[place] == expected["label"]
        assert flat.row_ids[place] == expected["row_id"]


def test_steps_are_cut_where_their_number_changes() -> None:
    rows = make_rows([2, 3, 4, 5, 6], [0, 1, 2, 0, 1])
    parts = split_by_step(rows, np.asarray([4, 4, 5, 7, 7]))
    assert [part.lengths.tolist() for part in parts] == [[2, 3], [4], [5, 6]]


@pytest.mark.parametrize("rank", [0, 1])
def test_ray_data_brings_what_memory_brings(
    ray_cluster: None, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_data, "ROWS_PER_BLOCK", 7)  # several blocks, which may arrive in any order
    ray_data.configure_ray_data()
    plan = make_plan(world_size=2).of_rank(rank)
    carried = fetch_with_ray_data([ray.put(table) for table in TABLES])(plan)
    for found, expected in zip(carried, fetch_from_memory(TABLES)(plan), strict=True):
        assert_same(found, expected)


def test_a_round_without_rows_fetches_nothing() -> None:
    over = make_mixture().plan([float("nan")] * 3, [0, 0, 0], round_start=8)
    assert len(over.row) == 0
    assert fetch_from_memory(TABLES)(over) == []
    assert fetch_with_ray_data([])(over) == []


def test_the_last_round_ends_with_the_run() -> None:
    assert set(make_mixture().plan([0.5] * 3, [0, 0, 0], round_start=6).step.tolist()) == {7, 8}


def test_the_next_round_is_the_one_that_was_planned_ahead() -> None:
    """What the stream was asked for while a round trained is what the state says when it is over."""
    mixture, state = make_mixture(), SamplerState.initial(3)
    ahead = None
    for _ in range(2):
        current = mixture.current(state)
        if ahead is not None:
            np.testing.assert_array_equal(current.row, ahead.row)
            np.testing.assert_array_equal(current.step, ahead.step)
            np.testing.assert_array_equal(current.weights, ahead.weights)
        assert mixture.drawn(state) == current.drawn.tolist()
        ahead = mixture.upcoming(state, mixture.drawn(state))
        for step in range(3):
            state = observe(state, np.asarray([0.9, 0.1, 0.1 * step]), smoothing=0.5)
        state = next_round(state, current.drawn.tolist())
    assert mixture.current(state).weights.tolist() != [1 / 3] * 3, "two rounds later what was measured counts"


def test_a_stream_gives_rounds_in_the_order_they_were_asked_for() -> None:
    gate = threading.Event()
    plans = [make_plan(round_steps=steps) for steps in (3, 1)]
    fetch = fetch_from_memory(TABLES)

    def slow(plan: Plan) -> list[TokenRows]:
        if plan is plans[0]:
            assert gate.wait(10)
        return fetch(plan)

    stream = CandidateStream(slow)
    for plan in plans:
        stream.request(partial(lambda plan: plan, plan))
    threading.Timer(0.1, gate.set).start()
    assert len(stream.next_round()[1]) == 3
    assert stream.seconds_waited > 0.05
    assert len(stream.next_round()[1]) == 1
    stream.close()


def test_waiting_for_the_first_rows_is_start_up() -> None:
    stream = CandidateStream(fetch_from_memory(TABLES))
    stream.request(make_plan)
    stream.wait_for_first()
    assert stream.seconds_waited == 0.0
    assert len(stream.next_round()[1]) == 3
    stream.close()


def test_an_error_while_fetching_reaches_the_one_who_waits() -> None:
    def fail(plan: Plan) -> list[TokenRows]:
        raise RuntimeError("a node went away")

    stream = CandidateStream(fail)
    stream.request(make_plan)
    with pytest.raises(RuntimeError, match="a node went away"):
        stream.next_round()
    stream.close()
