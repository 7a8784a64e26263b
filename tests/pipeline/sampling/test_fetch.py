"""Planned rows from memory and from disk: the same ones in the same order, and of a large split only those."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camtl import TokenRows
from pipeline.data.preparation.prepared import PreparedSplit, read_label_column, read_table
from pipeline.sampling.batches import fetch_from_memory, make_local_fetch
from pipeline.sampling.fetch import RowGroups, fit_in_memory
from tests.pipeline.sampling.rows import TABLES, assert_same, make_plan

ROOT = Path(__file__).parents[3]


def test_candidates_are_the_planned_rows_in_their_order() -> None:
    plan = make_plan()
    steps = fetch_from_memory(TABLES, plan)
    assert [len(rows) for rows in steps] == [16, 16, 16]
    flat = TokenRows.concatenate(steps)
    assert flat.task_ids.tolist() == plan.task.tolist()
    for index, (task, row) in enumerate(zip(plan.task, plan.row, strict=True)):
        expected = TABLES[task].slice(row, 1).to_pylist()[0]
        tokens = slice(flat.offsets[index], flat.offsets[index + 1])
        assert flat.input_ids[tokens].tolist() == expected["input_ids"]
        assert flat.token_type_ids[tokens].tolist() == expected["token_type_ids"]
        assert flat.labels[index] == expected["label"]
        assert flat.row_ids[index] == expected["row_id"]


@pytest.mark.parametrize("limit", [None, 0, 600])
def test_a_process_fetches_the_same_rows_from_memory_and_from_disk(
    splits: list[PreparedSplit], limit: int | None
) -> None:
    """The splits are tables of several chunks, files, or with 600 bytes both."""
    plan = make_plan()
    assert_same(make_local_fetch(splits, limit)(plan), fetch_from_memory(TABLES, plan))


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 200))
def test_the_smallest_splits_are_kept_in_memory(sizes: list[int], limit: int) -> None:
    fits = fit_in_memory(sizes, limit)
    kept = [size for size, fit in zip(sizes, fits, strict=True) if fit]
    left = [size for size, fit in zip(sizes, fits, strict=True) if not fit]
    assert sum(kept) <= limit
    assert not left or sum(kept) + min(left) > limit, "each that has room is kept"
    assert not left or not kept or max(kept) <= min(left)


def test_rows_from_disk_are_those_from_memory(splits: list[PreparedSplit]) -> None:
    on_disk = RowGroups.of(splits[0])
    assert read_table(splits[0]).equals(TABLES[0])
    for rows in ([39], [14, 15, 0], list(range(40)), list(range(39, -1, -1)), [7, 7, 3, 7]):
        assert on_disk.take(pa.array(rows)).equals(TABLES[0].take(pa.array(rows))), rows


def test_only_the_row_groups_of_the_rows_are_read(
    splits: list[PreparedSplit], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, int]] = []

    class RecordingFile(pq.ParquetFile):
        def __init__(self, path: str, **options: object) -> None:
            super().__init__(path, **options)
            self.path = Path(path).name

        def read_row_group(self, group: int, **options: object) -> pa.Table:
            read.append((self.path, group))
            return super().read_row_group(group, **options)

    monkeypatch.setattr(pq, "ParquetFile", RecordingFile)
    RowGroups.of(splits[0]).take(pa.array([38, 17, 3, 16, 0]))
    assert read == [("part-00000.parquet", 0), ("part-00001.parquet", 0), ("part-00002.parquet", 2)]


def test_a_corrupt_or_missing_file_is_named(splits: list[PreparedSplit]) -> None:
    file = Path(splits[0].files[0])
    content = bytearray(file.read_bytes())
    content[60] ^= 0xFF
    file.write_bytes(bytes(content))
    on_disk = RowGroups.of(splits[0])
    assert on_disk.take(pa.array([20])).num_rows == 1, "only what is read is checked"
    with pytest.raises(ValueError, match=r"part-00000\.parquet is corrupt"):
        on_disk.take(pa.array([0]))
    file.unlink()
    with pytest.raises(ValueError, match=r"part-00000\.parquet .*data\.prepared_dir"):
        on_disk.take(pa.array([0]))


def test_labels_are_read_without_the_rows(
    splits: list[PreparedSplit], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_label_column(splits[0]).equals(TABLES[0].select(["label"]))
    monkeypatch.setattr("pipeline.data.preparation.prepared.LABEL_ROWS", 16)
    assert read_label_column(splits[0]).equals(TABLES[0].select(["label"]).slice(0, 30)), "of the first files"


def test_a_splits_size_in_memory_is_known_before_it_is_read(splits: list[PreparedSplit]) -> None:
    for split, table in zip(splits, TABLES, strict=True):
        assert split.bytes == pytest.approx(table.nbytes, abs=128)


def test_a_ray_task_that_fetches_does_not_import_torch() -> None:
    """Its import takes seconds of a core, in every process that fetches."""
    code = (
        "import sys, pipeline.sampling.ray_data; print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["False", "False"]
