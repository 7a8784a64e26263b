"""Source rows of two tasks, and their preparation in this process."""

import hashlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.preparation import parts
from pipeline.data.preparation import prepare as preparation
from pipeline.data.preparation.parts import EncodeTask, encode_block, write_part
from pipeline.data.preparation.prepare import prepare
from pipeline.data.preparation.prepared import PreparedTask
from pipeline.data.sources.open import open_source
from pipeline.tasks.base import Task
from pipeline.tasks.registry import KNOWN_TASKS

SST2, STSB = KNOWN_TASKS["sst2"], KNOWN_TASKS["stsb"]
WORDS = ("the", "a", "cat", "dog", "sat", "ran", "house", "not", "very", "unheard", "##ed")
Prepare = Callable[..., dict[str, PreparedTask]]


def sentences(count: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 9))) for _ in range(count)]


def write(root: Path, task: Task, split: str, columns: Mapping[str, Sequence[object] | pa.Array]) -> None:
    path = root / task.dataset / task.config / f"{split}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path, row_group_size=16)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with 50 + 7 rows of SST-2 and 30 + 5 rows of STS-B."""
    root = tmp_path / "data"
    for split, count in (("train", 50), ("validation", 7)):
        labels = [row % 2 for row in range(count)]
        write(root, SST2, split, {"sentence": sentences(count, 0), "label": labels})
    for split, count in (("train", 30), ("validation", 5)):
        texts = {"sentence1": sentences(count, 1), "sentence2": sentences(count, 2)}
        write(root, STSB, split, {**texts, "label": [row / 10 for row in range(count)]})
    return root


@pytest.fixture(autouse=True)
def executions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Runs both stages in this process instead of Ray; counts the encode tasks of each execution."""
    counts: list[int] = []

    def execute(tasks: Sequence[EncodeTask], splits: Sequence[parts.SplitSpec], tokenizer: str) -> pa.Table:
        counts.append(len(tasks))
        encoded = [
            encode_block(pa.table({"task": [pickle.dumps(task)]}), tokenizer=tokenizer)
            for task in reversed(tasks)  # Ray promises no order
        ]
        rows = pa.concat_tables(encoded)
        numbers = rows["part"].to_numpy()
        groups = [rows.filter(pa.array(numbers == number)) for number in np.unique(numbers)]
        return pa.concat_tables([write_part(group, splits=splits) for group in groups]).to_pylist()

    monkeypatch.setattr(preparation, "execute", execute)
    monkeypatch.setattr("pipeline.data.sources.parquet_files.BLOCK_ROWS", 16)
    return counts


@pytest.fixture
def prepare_tasks(data: Path, tokenizer_dir: str) -> Prepare:
    """`prepare_tasks(*tasks, **changes)`: both tasks by default, into `root`."""

    def run(*tasks: Task, **changes: Any) -> dict[str, PreparedTask]:
        settings: dict[str, Any] = {"max_seq_length": 12, "max_train_rows": None, "max_eval_rows": None}
        settings |= {"tokenizer": tokenizer_dir, "prepared_dir": str(data.parent / "prepared"), **changes}
        return prepare(tasks or (SST2, STSB), open_source(str(data)), **settings)

    return run


@pytest.fixture
def root(data: Path) -> Path:
    return data.parent / "prepared"


def file_hashes(root: Path) -> dict[str, str]:
    files = sorted(root.rglob("*.parquet"))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
