"""What a run's numbers are made of."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.records import merge, write_chunk
from pipeline.results import totals
from tests.pipeline.test_follow import TASKS, make_records


def test_totals_are_over_all_chunks(tmp_path: Path) -> None:
    for first, last in ((1, 3), (4, 5)):
        write_chunk(tmp_path, [make_records(first, last)], TASKS)
    found = totals(tmp_path, merge(tmp_path, "rows.parquet"), rows_available=20)
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


def test_a_row_trained_on_twice_counts_once_and_rows_of_other_tasks_are_others(tmp_path: Path) -> None:
    write_chunk(tmp_path, [make_records(1, 3)], TASKS)
    rows = pa.table({"task": ["a", "a", "b", "b", "a"], "row_id": [1, 1, 1, 2, 11]})
    assert totals(tmp_path, rows, rows_available=8)["fraction_of_data"] == 4 / 8
