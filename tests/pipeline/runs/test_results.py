"""The numbers of `results.json`."""

import pyarrow as pa
import pytest

from pipeline.runs.results import count_rows, summarize
from tests.pipeline.runs.chunks import make_records

MIX = pa.table({"task": ["a", "b"] * 2, "candidates": [4, 12, 4, 0], "trained": [3, 2, 0, 0]})
ROWS = pa.table({"task": ["a", "a", "b", "b", "a"], "row_id": [1, 1, 1, 2, 11]})


def test_totals_are_over_all_chunks_and_tasks() -> None:
    parts = (make_records(1, 3), make_records(4, 5))
    summaries = [{**(part.summary or {}), "last_step": part.last_step} for part in parts]
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


@pytest.mark.parametrize("scored", [True, False])
def test_rows_are_counted_per_task_each_time_and_once(scored: bool) -> None:
    counts = count_rows(MIX, ROWS, {"a": 5, "b": 20, "c": 7}, scored=scored)
    assert [counts[task].pop("rows_scored") for task in "abc"] == ([8, 12, 0] if scored else [0, 0, 0])
    columns = "rows_available rows_drawn rows_trained epochs distinct_rows_drawn distinct_rows_trained fraction_of_data"
    names = columns.split()
    assert counts == {
        "a": dict(zip(names, (5, 8, 3, 8 / 5, 5, 2, 2 / 5), strict=True)),
        "b": dict(zip(names, (20, 12, 2, 12 / 20, 12, 2, 2 / 20), strict=True)),
        "c": {**dict.fromkeys(names, 0), "rows_available": 7},  # no candidates
    }
