"""Sets in memory and on disk feed the same rows, whatever room there is."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline.sampling.feed import fitting

from pipeline.data.preparation.prepared import PreparedSplit
from pipeline.data.preparation.schema import ROW_GROUP_ROWS
from pipeline.experiments.train import train
from pipeline.sampling import ray_data
from pipeline.sampling.batches import feed_in_process, fetch_from_memory
from pipeline.sampling.fetch import RowGroups
from pipeline.sampling.plan import Plan
from pipeline.sampling.ray_data import feed_with_ray_data
from pipeline.sampling.state import SamplerState
from tests.pipeline.sampling import larger_than_the_store
from tests.pipeline.sampling.test_mixture import assert_same
from tests.pipeline.small_run import make_settings
from tests.prepared_rows import single_encodings
from tests.toy import make_job, make_split, make_table

SIZES = (40, 9, 24)
TABLES = [make_table(task, rows) for task, rows in enumerate(SIZES)]
STORE = 80_000_000  # bytes; Ray takes no fewer than 75 MB


@pytest.fixture
def splits(tmp_path: Path) -> list[PreparedSplit]:
    """The tables in files of 15 rows, in row groups of 4."""
    return [
        make_split(table, tmp_path / str(task), part_rows=15, row_group_rows=4)
        for task, table in enumerate(TABLES)
    ]


def make_plan() -> Plan:
    return make_job("", SIZES).mixture.current(SamplerState.initial(len(SIZES)))


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 200))
def test_the_smallest_sets_stay_in_memory(sizes: list[int], limit: int) -> None:
    stay = fitting(sizes, limit)
    kept = [size for size, stays in zip(sizes, stay, strict=True) if stays]
    left = [size for size, stays in zip(sizes, stay, strict=True) if not stays]
    assert sum(kept) <= limit
    assert not left or sum(kept) + min(left) > limit, "none is left out that has room"
    assert not left or not kept or max(kept) <= min(left)


@pytest.mark.parametrize("limit", [None, 0, 600])
def test_a_process_is_fed_the_same_rows_from_memory_and_from_disk(
    splits: list[PreparedSplit], limit: int | None
) -> None:
    plan = make_plan()
    for found, expected in zip(
        feed_in_process(splits, limit)()(plan), fetch_from_memory(TABLES)(plan), strict=True
    ):
        assert_same(found, expected)


@pytest.mark.parametrize("limit", [None, 0, 600])
def test_ray_data_feeds_the_same_rows_from_memory_and_from_disk(
    ray_cluster: None, splits: list[PreparedSplit], limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_data, "ROWS_PER_BLOCK", 7)
    plan = make_plan()
    for found, expected in zip(
        feed_with_ray_data(splits, limit)()(plan), fetch_from_memory(TABLES)(plan), strict=True
    ):
        assert_same(found, expected)


def test_a_file_that_goes_bad_during_a_run_is_named(ray_cluster: None, splits: list[PreparedSplit]) -> None:
    fetch = feed_with_ray_data(splits, 0)()
    Path(splits[0].files[1]).write_bytes(b"PAR1 and no more")
    with pytest.raises(
        ValueError, match=r"^prepared file .*part-00001\.parquet is corrupt or cut short"
    ) as told:
        fetch(make_plan())
    assert "\n" not in str(told.value)


def test_a_run_trains_on_the_same_rows_whatever_stays_in_memory(
    ray_cluster: None, tmp_path: Path, tiny_backbone: str
) -> None:
    trained = []
    for name, limit in (("memory", None), ("disk", 0)):
        settings = make_settings(
            tmp_path,
            tiny_backbone,
            run={"name": name},
            data={"in_memory_bytes": limit},
            cluster={"num_workers": 0},
        )
        train(settings, lambda line: None)
        trained.append(pq.read_table(tmp_path / "runs" / name / "rows.parquet"))
    assert trained[0].num_rows > 0
    assert trained[0].equals(trained[1])


def numbered_split(folder: Path, rows: int, tokens: int = 128) -> PreparedSplit:
    """Rows whose first token is their number, in the layout that `prepare` writes."""
    input_ids = np.random.default_rng(rows).integers(0, 30_000, (rows, tokens), dtype=np.int32)
    input_ids[:, 0] = np.arange(rows)
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * tokens)
    table = single_encodings(
        np.arange(rows) + 7,
        pa.ListArray.from_arrays(offsets, pa.array(input_ids.ravel())),
        pa.ListArray.from_arrays(offsets, pa.array(np.zeros(rows * tokens, np.int8))),
        np.zeros(rows, np.float32),
    )
    return make_split(table, folder, part_rows=64 * ROW_GROUP_ROWS, row_group_rows=ROW_GROUP_ROWS)


def test_a_set_larger_than_the_object_store_is_read_by_row_group(tmp_path: Path) -> None:
    """Nothing of it is spilled to disk a second time, and the driver never holds it."""
    splits = [numbered_split(tmp_path / "small", 500), numbered_split(tmp_path / "large", 160_000)]
    assert splits[1].bytes > 1.3 * STORE
    pickled = tmp_path / "splits"
    pickled.write_bytes(pickle.dumps(splits))
    command = [sys.executable, "-m", larger_than_the_store.__name__, str(pickled), str(STORE)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=larger_than_the_store.ROOT
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == 0
    assert found["met"] == larger_than_the_store.ROUNDS * 1000
    assert not found["spilled"]
    assert 0 < found["held"] < 0.1 * splits[1].bytes


def test_where_a_large_set_lies_takes_next_to_no_room() -> None:
    """A thousand million rows are 15,259 files: what every node is told of them is under 2 MB."""
    files = tuple(
        f"/shared/prepared/task-0123456789ab/train/part-{number:05d}.parquet" for number in range(15_259)
    )
    ends = tuple(65_536 * (number + 1) for number in range(15_259))
    assert len(pickle.dumps(RowGroups(files, ends))) < 2e6
