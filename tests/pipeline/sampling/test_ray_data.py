"""Ray Data fetches the rows that a single process would, from memory and from disk."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.preparation.prepared import PreparedSplit
from pipeline.data.preparation.schema import ROW_GROUP_ROWS
from pipeline.sampling import ray_data
from pipeline.sampling.batches import fetch_from_memory
from pipeline.sampling.ray_data import fetch_with_ray_data, make_ray_data_fetch
from tests.pipeline.sampling import larger_than_the_store
from tests.pipeline.sampling.rows import TABLES, assert_same, make_plan
from tests.prepared_rows import single_encodings
from tests.toy import make_split

STORE = 80_000_000  # bytes; Ray's minimum is 75 MB


@pytest.mark.parametrize("limit", [None, 0, 600])
def test_ray_data_fetches_what_one_process_fetches(
    ray_cluster: None, splits: list[PreparedSplit], limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_data, "ROWS_PER_BLOCK", 7)  # several blocks, which may arrive in any order
    plan = make_plan(world_size=2).of_rank(1)
    assert_same(make_ray_data_fetch(splits, limit)(plan), fetch_from_memory(TABLES, plan))


def test_a_round_without_rows_fetches_nothing() -> None:
    over = make_plan().of_rank(1)
    assert fetch_from_memory(TABLES, over) == []
    assert fetch_with_ray_data([], over) == []


def test_a_file_that_becomes_corrupt_during_a_run_is_named(
    ray_cluster: None, splits: list[PreparedSplit]
) -> None:
    fetch = make_ray_data_fetch(splits, 0)
    Path(splits[0].files[1]).write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"^prepared file .*part-00001\.parquet is corrupt") as caught:
        fetch(make_plan())
    assert "\n" not in str(caught.value)


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


@pytest.mark.slow
def test_a_split_larger_than_the_object_store_is_read_by_row_group(tmp_path: Path) -> None:
    """The store spills nothing to disk, and the driver never holds the split."""
    splits = [numbered_split(tmp_path / "small", 500), numbered_split(tmp_path / "large", 160_000)]
    assert splits[1].bytes > 1.3 * STORE
    pickled = tmp_path / "splits"
    pickled.write_bytes(pickle.dumps(splits))
    command = [sys.executable, "-m", larger_than_the_store.__name__, str(pickled), str(STORE)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=larger_than_the_store.ROOT
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["wrong"] == 0
    assert figures["rows"] == larger_than_the_store.ROUNDS * 1000
    assert not figures["spilled"]
    assert 0 < figures["held"] < 0.1 * splits[1].bytes
