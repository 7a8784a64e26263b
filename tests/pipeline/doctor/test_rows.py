"""Each task that cannot be read is named, and the others are read."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.sources.open import open_source
from pipeline.data.tokenization import load_tokenizer, tokenizer_json
from pipeline.doctor.rows import check_tasks, encodings_per_row, first_batch
from pipeline.tasks.registry import resolve_tasks

GOOD: dict[str, list[Any]] = {
    "sentence1": ["the cat sat", "a dog ran", "the house"],
    "sentence2": ["a cat", "the dog", "very good"],
    "label": [0, 1, -1],
}


def write(folder: Path, config: str, **changes: Any) -> None:
    columns = {name: values for name, values in {**GOOD, **changes}.items() if values is not None}
    target = folder / resolve_tasks((config,))[0].dataset / config
    target.mkdir(parents=True)
    for split in ("train", "validation"):
        pq.write_table(pa.table(columns), target / f"{split}.parquet")


def check(folder: Path, tokenizer: str, *names: str) -> Any:
    loaded = load_tokenizer(tokenizer_json(tokenizer))
    return check_tasks(resolve_tasks(names), open_source(str(folder)), loaded, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sentence2": None}, "no column 'sentence2'"),
        ({"label": [0, 1, 7]}, "row 2"),
        ({"label": [-1, -1, -1]}, "none of the first 3 rows"),
        ({"sentence1": [1, 2, 3]}, "'sentence1'"),
        ({name: [] for name in GOOD}, "is empty"),
        ({}, "rte/train.parquet"),  # a truncated file
    ],
)
def test_a_task_with_wrong_rows_is_named_and_the_others_are_read(
    tmp_path: Path, tokenizer_dir: str, changes: dict[str, Any], message: str
) -> None:
    write(tmp_path, "mrpc")
    write(tmp_path, "rte", **changes)
    if not changes:
        [file] = tmp_path.rglob("rte/train.parquet")
        file.write_bytes(file.read_bytes()[:-20])
    findings, rows = check(tmp_path, tokenizer_dir, "rte", "mrpc")
    assert [(finding.name, finding.ok) for finding in findings] == [("task rte", False), ("tasks", True)]
    assert message in findings[0].message
    assert findings[0].remedy
    assert list(rows) == ["mrpc"]


def test_the_batch_has_trainable_rows_of_every_readable_task(tmp_path: Path, tokenizer_dir: str) -> None:
    write(tmp_path, "rte", label=[-1, 1, 0])
    write(tmp_path, "mrpc", sentence1=None)
    write(tmp_path, "wnli", label=[-1, -1, 1])
    tasks = resolve_tasks(("rte", "mrpc", "wnli"))
    _, rows = check(tmp_path, tokenizer_dir, "rte", "mrpc", "wnli")
    batch = first_batch(tasks, rows)
    assert batch.task_ids.tolist() == [0, 0, 2]
    assert batch.labels.tolist() == [1, 0, 1]
    assert np.all(batch.lengths > 2)


def test_every_choice_is_an_encoding(tmp_path: Path, tokenizer_dir: str) -> None:
    write(tmp_path, "rte")
    _, rows = check(tmp_path, tokenizer_dir, "rte")
    assert encodings_per_row(rows) == 1.0
    texts = {"premise": ["the cat"], "choice1": ["ran"], "choice2": ["sat"], "question": ["cause"]}
    write(tmp_path, "copa", **{**dict.fromkeys(GOOD), **texts, "label": [0]})
    _, rows = check(tmp_path, tokenizer_dir, "rte", "copa")
    assert encodings_per_row(rows) == 1.5
