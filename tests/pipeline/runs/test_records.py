"""Chunks of records: complete or absent, and replaced by the chunks of a resumed run."""

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.runs.records import list_chunks, merge_chunks, read_summary, write_chunk
from tests.pipeline.runs.chunks import TASKS, make_records


def test_a_chunk_holds_the_rows_of_all_ranks_by_step_and_task_names(tmp_path: Path) -> None:
    assert list_chunks(tmp_path) == []
    records = [make_records(1, 2), make_records(1, 2, rank=1)]
    write_chunk(tmp_path, records, TASKS)
    [chunk] = list_chunks(tmp_path)
    assert chunk.name == "000000002"
    assert pq.read_table(chunk / "rows.parquet").to_pylist() == [
        {"step": 1, "rank": 0, "task": "b", "row_id": 10},
        {"step": 1, "rank": 1, "task": "b", "row_id": 11},
        {"step": 2, "rank": 0, "task": "a", "row_id": 20},
        {"step": 2, "rank": 1, "task": "a", "row_id": 21},
    ]
    mix = pq.read_table(chunk / "mix.parquet")
    assert mix.column_names == ["step", "task", "weight", "mean_uncertainty", "candidates", "trained"]
    assert mix["task"].to_pylist() == ["a", "b", "a", "b"]
    assert read_summary(chunk) == {"first_step": 1, "last_step": 2, **(records[0].summary or {})}


def test_a_resumed_run_replaces_the_chunks_that_it_repeats(tmp_path: Path) -> None:
    for first, last in ((1, 3), (4, 6), (7, 8)):
        write_chunk(tmp_path, [make_records(first, last)], TASKS)
    write_chunk(tmp_path, [make_records(4, 7, resumed_at=3)], TASKS)  # chunks end at other steps than before
    assert [int(chunk.name) for chunk in list_chunks(tmp_path)] == [3, 7]
    merged = merge_chunks(tmp_path, "rows.parquet")
    assert merged["step"].to_pylist() == [1, 2, 3, 4, 5, 6, 7]
    assert merged["row_id"].to_pylist() == [10, 20, 30, 340, 350, 360, 370]
    assert pq.read_table(tmp_path / "rows.parquet").equals(merged)
    assert not list(tmp_path.glob("*writing*"))
    write_chunk(tmp_path, [make_records(8, 9, resumed_at=3)], TASKS)
    mix = merge_chunks(tmp_path, "mix.parquet")
    assert mix["step"].to_pylist() == np.repeat(np.arange(1, 10), 2).tolist()
    write_chunk(tmp_path, [make_records(1, 2)], TASKS)  # the run starts again
    assert [int(chunk.name) for chunk in list_chunks(tmp_path)] == [2]


def test_an_unfinished_chunk_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_chunk(tmp_path, [make_records(1, 3)], TASKS)
    monkeypatch.setattr(json, "dumps", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_chunk(tmp_path, [make_records(4, 6)], TASKS)
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["000000003"]
