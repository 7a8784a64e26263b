"""Chunks of records: whole or not there, and replaced by what replays them."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.runs.records import Records, list_chunks, merge_chunks, read_summary, write_chunk

TASKS = ("a", "b")


def make_records(first: int, last: int, *, rank: int = 0, resumed_at: int = 0, trained: int = 1) -> Records:
    steps = np.arange(first, last + 1)
    records = Records(
        resumed_at=resumed_at,
        first_step=first,
        last_step=last,
        seconds=1.0,
        rows={
            "step": steps,
            "rank": np.full(len(steps), rank),
            "task": steps % 2,
            "row_id": steps * 10 + rank + 100 * resumed_at,
        },
    )
    if rank == 0:
        records.mix = {
            "step": np.repeat(steps, 2),
            "task": np.tile([0, 1], len(steps)),
            "weight": np.full(2 * len(steps), 0.5),
            "mean_uncertainty": np.full(2 * len(steps), np.nan),
            "candidates": np.full(2 * len(steps), 4),
            "trained": np.full(2 * len(steps), trained),
        }
        records.summary = {"seconds": 1.0, "scores": None}
    return records


def test_a_chunk_holds_all_ranks_rows_by_step_and_the_names_of_tasks(tmp_path: Path) -> None:
    write_chunk(tmp_path, [make_records(1, 2), make_records(1, 2, rank=1)], TASKS)
    [chunk] = list_chunks(tmp_path)
    assert chunk.name == "000000002"
    rows = pq.read_table(chunk / "rows.parquet")
    assert rows.to_pylist() == [
        {"step": 1, "rank": 0, "task": "b", "row_id": 10},
        {"step": 1, "rank": 1, "task": "b", "row_id": 11},
        {"step": 2, "rank": 0, "task": "a", "row_id": 20},
        {"step": 2, "rank": 1, "task": "a", "row_id": 21},
    ]
    mix = pq.read_table(chunk / "mix.parquet")
    assert mix.column_names == ["step", "task", "weight", "mean_uncertainty", "candidates", "trained"]
    assert mix["task"].to_pylist() == ["a", "b", "a", "b"]
    assert read_summary(chunk) == {"first_step": 1, "last_step": 2, "seconds": 1.0, "scores": None}


def test_chunks_become_one_table_in_the_order_of_steps(tmp_path: Path) -> None:
    for first, last in ((1, 3), (4, 9), (10, 12)):
        write_chunk(tmp_path, [make_records(first, last)], TASKS)
    merged = merge_chunks(tmp_path, "rows.parquet")
    assert merged["step"].to_pylist() == list(range(1, 13))
    assert pq.read_table(tmp_path / "rows.parquet").equals(merged)
    assert [path.name for path in tmp_path.iterdir() if "writing" in path.name] == []


def test_what_a_resumed_run_replays_replaces_what_it_had(tmp_path: Path) -> None:
    for first, last in ((1, 3), (4, 6), (7, 8)):
        write_chunk(tmp_path, [make_records(first, last)], TASKS)
    write_chunk(tmp_path, [make_records(4, 7, resumed_at=3)], TASKS)  # other chunks, for it was cut off at 8
    assert [int(chunk.name) for chunk in list_chunks(tmp_path)] == [3, 7]
    merged = merge_chunks(tmp_path, "rows.parquet")
    assert merged["step"].to_pylist() == [1, 2, 3, 4, 5, 6, 7]
    assert merged["row_id"].to_pylist() == [10, 20, 30, 340, 350, 360, 370]
    write_chunk(tmp_path, [make_records(8, 9, resumed_at=3)], TASKS)
    assert (
        merge_chunks(tmp_path, "mix.parquet")["step"].to_pylist() == np.repeat(np.arange(1, 10), 2).tolist()
    )


def test_a_run_that_starts_anew_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    for first, last in ((1, 3), (4, 6)):
        write_chunk(tmp_path, [make_records(first, last)], TASKS)
    write_chunk(tmp_path, [make_records(1, 2)], TASKS)
    assert [int(chunk.name) for chunk in list_chunks(tmp_path)] == [2]


def test_an_unfinished_chunk_is_not_taken_for_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_chunk(tmp_path, [make_records(1, 3)], TASKS)

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dumps", fail)
    with pytest.raises(OSError, match="No space left"):
        write_chunk(tmp_path, [make_records(4, 6)], TASKS)
    assert [int(chunk.name) for chunk in list_chunks(tmp_path)] == [3]
    assert merge_chunks(tmp_path, "rows.parquet")["step"].to_pylist() == [1, 2, 3]


def test_a_run_without_records_has_no_chunks(tmp_path: Path) -> None:
    assert list_chunks(tmp_path) == []
