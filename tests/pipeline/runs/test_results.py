"""What a run's numbers are made of."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.runs.records import list_chunks, merge_chunks, read_summary, write_chunk
from pipeline.runs.results import count_rows, summarize
from tests.pipeline.runs.test_monitor import TASKS, make_records

MIX = pa.table({"task": ["a", "b"] * 2, "candidates": [4, 12, 4, 0], "trained": [3, 2, 0, 0]})
ROWS = pa.table({"task": ["a", "a", "b", "b", "a"], "row_id": [1, 1, 1, 2, 11]})


def test_totals_are_over_all_chunks(tmp_path: Path) -> None:
    for first, last in ((1, 3), (4, 5)):
        write_chunk(tmp_path, [make_records(first, last)], TASKS)
    mix, rows = merge_chunks(tmp_path, "mix.parquet"), merge_chunks(tmp_path, "rows.parquet")
    found = summarize(
        [read_summary(chunk) for chunk in list_chunks(tmp_path)],
        count_rows(mix, rows, {"a": 8, "b": 12}, scored=True),
    )
    assert found == pytest.approx(
        {
            "steps": 5,
            "rows_scored": 80,
            "rows_trained": 40,
            "fraction_of_data": 5 / 20,
            "seconds": 4.0,
            "rows_per_second": 10.0,
            "data_wait_fraction": 0.25,
            "padding_fraction": 0.25,
        }
    )


def test_a_row_trained_on_twice_counts_once_as_distinct_and_rows_of_other_tasks_are_others() -> None:
    assert count_rows(MIX, ROWS, {"a": 5, "b": 20}, scored=True) == {
        "a": {
            "rows_available": 5,
            "rows_drawn": 8,
            "rows_scored": 8,
            "rows_trained": 3,
            "epochs": 8 / 5,
            "distinct_rows_drawn": 5,
            "distinct_rows_trained": 2,
            "fraction_of_data": 2 / 5,
        },
        "b": {
            "rows_available": 20,
            "rows_drawn": 12,
            "rows_scored": 12,
            "rows_trained": 2,
            "epochs": 12 / 20,
            "distinct_rows_drawn": 12,
            "distinct_rows_trained": 2,
            "fraction_of_data": 2 / 20,
        },
    }


def test_without_selection_nothing_was_scored_and_a_task_never_drawn_counts_nothing() -> None:
    found = count_rows(MIX, ROWS, {"a": 5, "b": 20, "c": 7}, scored=False)
    assert [found[task]["rows_scored"] for task in "abc"] == [0, 0, 0]
    assert found["c"].pop("rows_available") == 7
    assert set(found["c"].values()) == {0}
