"""The numbers of `results.json`."""

import pyarrow as pa
import pytest

from pipeline.runs.results import count_rows, summarize
from tests.pipeline.runs.chunks import make_records

MIX = pa.table({"task": ["a", "b"] * 2, "candidates": [4, 12, 4, 0], "trained": [3, 2, 0, 0]})
ROWS = pa.table({"task": ["a", "a", "b", "b", "a"], "row_id": [1, 1, 1, 2, 11]})


def test_totals_are_over_all_chunks_and_tasks() -> None:
    summaries = [
        {**(make_records(first, last).summary or {}), "last_step": last} for first, last in ((1, 3), (4, 5))
    ]
    counts = {task: {"distinct_rows_trained": 2, "rows_available": 8} for task in "ab"}
    assert summarize(summaries, counts) == pytest.approx(
        {
            "steps": 5,
            "rows_scored": 80,
            "rows_trained": 40,
            "fraction_of_data": 4 / 16,
            "seconds": 4.0,
            "rows_per_second": 10.0,
            "data_wait_fraction": 0.25,
            "padding_fraction": 0.25,
        }
    )


def test_rows_are_counted_per_task_each_time_and_once() -> None:
    names = ("available", "drawn", "scored", "trained")
    counts = count_rows(MIX, ROWS, {"a": 5, "b": 20}, scored=True)
    assert {task: [counts[task][f"rows_{name}"] for name in names] for task in "ab"} == {
        "a": [5, 8, 8, 3],
        "b": [20, 12, 12, 2],
    }
    names = ("epochs", "distinct_rows_drawn", "distinct_rows_trained", "fraction_of_data")
    assert {task: [counts[task][name] for name in names] for task in "ab"} == {
        "a": [8 / 5, 5, 2, 2 / 5],
        "b": [12 / 20, 12, 2, 2 / 20],
    }


def test_without_selection_no_row_is_scored_and_a_task_without_candidates_counts_zero() -> None:
    counts = count_rows(MIX, ROWS, {"a": 5, "b": 20, "c": 7}, scored=False)
    assert [counts[task]["rows_scored"] for task in "abc"] == [0, 0, 0]
    assert counts["c"].pop("rows_available") == 7
    assert set(counts["c"].values()) == {0}
