"""The stream of candidates: rounds in the order of their requests, fetched in the background."""

import threading

import pytest

from camtl import TokenRows
from pipeline.sampling.batches import fetch_from_memory
from pipeline.sampling.plan import Plan
from pipeline.sampling.state import SamplerState
from pipeline.sampling.stream import CandidateStream
from tests.pipeline.sampling.rows import SIZES, TABLES, make_mixture

START = SamplerState.initial(len(SIZES))


def test_rounds_come_in_the_order_of_their_requests_and_waiting_is_counted() -> None:
    gate = threading.Event()

    def slow(plan: Plan) -> list[TokenRows]:
        assert len(plan.row) == 3 * 16 or gate.wait(10)
        return fetch_from_memory(TABLES, plan)

    stream = CandidateStream(slow)
    for steps in (3, 1):
        stream.request(make_mixture(round_steps=steps).current, START)
    stream.wait_for_first()
    assert stream.seconds_waited == 0.0, "this is start-up time"
    threading.Timer(0.1, gate.set).start()
    assert len(stream.next_round()[1]) == 3
    assert len(stream.next_round()[1]) == 1
    assert stream.seconds_waited > 0.05
    stream.close()


def test_an_error_while_fetching_is_raised_where_the_round_is_awaited() -> None:
    def fail(plan: Plan) -> list[TokenRows]:
        raise RuntimeError("a node went away")

    stream = CandidateStream(fail)
    stream.request(make_mixture().current, START)
    with pytest.raises(RuntimeError, match="a node went away"):
        stream.next_round()
    stream.close()
