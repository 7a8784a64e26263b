"""Rows out of prepared sets, in memory and on disk: the same ones, and of a large set only what is asked for."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.preparation.prepared import PreparedSplit, read_labels, read_table
from pipeline.sampling.fetch import RowGroups, fetch_rows
from tests.toy import make_split, make_table

ROOT = Path(__file__).parents[3]
SIZES = (40, 9, 24)
TABLES = [make_table(task, rows) for task, rows in enumerate(SIZES)]


@pytest.fixture
def splits(tmp_path: Path) -> list[PreparedSplit]:
    """The tables in files of 15 rows, in row groups of 4."""
    return [
        make_split(table, tmp_path / str(task), part_rows=15, row_group_rows=4)
        for task, table in enumerate(TABLES)
    ]


def test_rows_from_disk_are_those_from_memory(splits: list[PreparedSplit]) -> None:
    on_disk = RowGroups.of(splits[0])
    assert read_table(splits[0]).equals(TABLES[0])
    for rows in ([39], [14, 15, 0], list(range(40)), list(range(39, -1, -1)), [7, 7, 3, 7]):
        assert on_disk.take(pa.array(rows)).equals(TABLES[0].take(pa.array(rows))), rows


def test_tasks_in_memory_and_on_disk_are_fetched_together_in_the_order_asked_for(
    splits: list[PreparedSplit],
) -> None:
    task, row = np.asarray([2, 0, 2, 1, 0]), np.asarray([23, 39, 0, 8, 1])
    expected = fetch_rows(dict(enumerate(TABLES)), task, row)
    mixed = {0: RowGroups.of(splits[0]), 1: TABLES[1], 2: RowGroups.of(splits[2])}
    assert fetch_rows(mixed, task, row).to_pylist() == expected.to_pylist()
    assert expected["task"].to_pylist() == [2, 0, 2, 1, 0]


def test_rows_come_out_of_tables_of_several_chunks() -> None:
    chunked = {
        task: pa.concat_tables([table.slice(0, 5), table.slice(5)]) for task, table in enumerate(TABLES)
    }
    task, row = np.asarray([2, 0, 2, 1]), np.asarray([7, 4, 0, 8])
    whole = fetch_rows(dict(enumerate(TABLES)), task, row)
    assert fetch_rows(chunked, task, row).to_pylist() == whole.to_pylist()
    assert whole["task"].to_pylist() == [2, 0, 2, 1]


def test_only_the_row_groups_of_the_rows_are_read(
    splits: list[PreparedSplit], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, int]] = []

    class Watched(pq.ParquetFile):
        def __init__(self, path: str, **options: object) -> None:
            super().__init__(path, **options)
            self.path = Path(path).name

        def read_row_group(self, group: int, **options: object) -> pa.Table:
            read.append((self.path, group))
            return super().read_row_group(group, **options)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    RowGroups.of(splits[0]).take(pa.array([38, 17, 3, 16, 0]))
    assert read == [("part-00000.parquet", 0), ("part-00001.parquet", 0), ("part-00002.parquet", 2)]


def test_rot_in_a_row_group_that_is_read_is_found(splits: list[PreparedSplit]) -> None:
    file = Path(splits[0].files[0])
    rotten = bytearray(file.read_bytes())
    rotten[60] ^= 0xFF
    file.write_bytes(bytes(rotten))
    on_disk = RowGroups.of(splits[0])
    with pytest.raises(ValueError, match=r"part-00000\.parquet is corrupt .* delete .* to prepare it again"):
        on_disk.take(pa.array([0]))
    assert on_disk.take(pa.array([20])).num_rows == 1


def test_a_folder_that_this_node_does_not_reach_is_named(splits: list[PreparedSplit]) -> None:
    Path(splits[0].files[0]).unlink()
    with pytest.raises(
        ValueError, match=r"part-00000\.parquet is not there: set data\.prepared_dir to a folder"
    ):
        RowGroups.of(splits[0]).take(pa.array([0]))


def test_labels_are_read_without_the_rows(
    splits: list[PreparedSplit], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_labels(splits[0]).equals(TABLES[0].select(["label"]))
    monkeypatch.setattr("pipeline.data.preparation.prepared.LABEL_ROWS", 16)
    assert read_labels(splits[0]).equals(TABLES[0].select(["label"]).slice(0, 30)), "of the first files"


def test_a_splits_size_in_memory_is_known_before_it_is_read(splits: list[PreparedSplit]) -> None:
    for split, table in zip(splits, TABLES, strict=True):
        assert split.bytes == pytest.approx(table.nbytes, abs=128)


def test_a_task_that_fetches_starts_without_torch() -> None:
    """Its import takes seconds of a core that the training step has use for, in every process that fetches."""
    found = (
        "import sys, pipeline.sampling.fetch; print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["False", "False"]
