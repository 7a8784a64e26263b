"""Prepared data has the right rows in a fixed order, and wrong data is refused."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.util.placement_group import placement_group, remove_placement_group
from transformers import AutoTokenizer

from pipeline.data.preparation import execution, parts
from pipeline.data.preparation import prepare as preparation
from pipeline.data.preparation.parts import PROBLEM, write_part
from pipeline.data.preparation.prepared import load_prepared, read_table, report_lines
from pipeline.data.sources.base import Block
from tests.pipeline.data.preparation.conftest import SST2, STSB, Prepare, file_hashes, sentences, write


def test_rows_are_what_the_tokenizer_makes_of_them(
    data: Path, tokenizer_dir: str, prepare_tasks: Prepare
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    prepared, ids = prepare_tasks(), ("input_ids", "token_type_ids")
    assert list(prepared) == ["sst2", "stsb"]
    for task in (SST2, STSB):
        for split in (prepared[task.name].train, *prepared[task.name].evals):
            source = pq.read_table(data / task.dataset / task.config / f"{split.split}.parquet").to_pydict()
            table = read_table(split).to_pydict()
            assert sorted(table["row_id"]) == list(range(split.rows))
            assert split.rows == len(source["label"])
            texts = [[source[column][row] for row in table["row_id"]] for column in task.text_columns]
            expected = tokenizer(*texts, truncation=True, max_length=12, return_token_type_ids=True)
            assert [table[key] for key in ids] == [expected[key] for key in ids]
            assert table["label"] == pytest.approx([source["label"][row] for row in table["row_id"]])


def test_a_limit_keeps_the_first_of_the_shuffled_rows(prepare_tasks: Prepare) -> None:
    full = prepare_tasks(SST2)["sst2"]
    order = read_table(full.train)["row_id"].to_pylist()
    assert order != sorted(order)
    some = prepare_tasks(SST2, max_train_rows=9, max_eval_rows=3)["sst2"]
    assert read_table(some.train)["row_id"].to_pylist() == order[:9]
    assert [split.rows for split in some.evals] == [3]
    assert some.directory != full.directory


def test_evaluation_rows_that_are_measured_by_question_keep_their_order(prepare_tasks: Prepare) -> None:
    [some] = prepare_tasks(replace(SST2, columns={"question": "label"}), max_eval_rows=3).values()
    assert read_table(some.evals[0])["row_id"].to_pylist() == [0, 1, 2]
    assert (order := read_table(some.train)["row_id"].to_pylist()) != sorted(order)


def test_splits_are_cut_into_parts_and_row_groups(
    prepare_tasks: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uncut = prepare_tasks(prepared_dir=str(tmp_path / "uncut"))
    monkeypatch.setattr(parts, "PART_ROWS", 20)
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 16)
    cut = prepare_tasks()
    names = [os.path.basename(file) for file in cut["sst2"].train.files]
    assert names == [f"part-{index:05d}.parquet" for index in range(3)]
    for name, rows in {"sst2": [16, 4, 16, 4, 10], "stsb": [16, 4, 10]}.items():
        files = [pq.read_metadata(file) for file in cut[name].train.files]
        assert [file.row_group(n).num_rows for file in files for n in range(file.num_row_groups)] == rows
        assert read_table(cut[name].train).equals(read_table(uncut[name].train))


def test_the_manifest_describes_the_files(data: Path, tokenizer_dir: str, prepare_tasks: Prepare) -> None:
    prepared = prepare_tasks(SST2)["sst2"]
    assert json.loads(Path(prepared.directory, "manifest.json").read_text()) == prepared.manifest
    assert (prepared.manifest["task"], prepared.manifest["tokenizer"]["name"]) == ("sst2", tokenizer_dir)
    train, split = prepared.train, prepared.manifest["splits"]["train"]
    assert split["label_counts"] == [25, 25]
    tokens = sum(len(ids) for ids in read_table(train)["input_ids"].to_pylist())
    assert (train.rows, train.file_rows, train.tokens, split["tokens"]) == (50, (50,), tokens, tokens)
    assert train.bytes == 5 * tokens + 36 * 50
    source = pq.read_table(data / "nyu-mll/glue/sst2/train.parquet")["sentence"].to_pylist()
    assert split["truncated"] == sum(len(text.replace("##", "# # ").split()) > 10 for text in source)
    sha256 = hashlib.sha256(Path(train.files[0]).read_bytes()).hexdigest()
    assert split["files"] == {"part-00000.parquet": {"rows": 50, "sha256": sha256}}


def test_rows_without_a_label_are_kept_for_prediction_and_not_trained_on(
    data: Path, prepare_tasks: Prepare
) -> None:
    for split in ("train", "validation"):
        labels = [-1 if row % 5 == 0 else row % 2 for row in range(40)]
        write(data, SST2, split, {"sentence": sentences(40, 1), "label": labels})
    prepared = prepare_tasks(SST2)["sst2"]
    train, validation = prepared.manifest["splits"]["train"], prepared.manifest["splits"]["validation"]
    assert (train["rows"], train["source_rows"], train["report"]) == (32, 40, {"unlabelled": 8})
    assert (validation["rows"], validation["report"]) == (40, {"unlabelled": 8})
    table = read_table(prepared.train)
    assert set(table["label"].to_pylist()) == {0.0, 1.0}
    assert sorted(table["row_id"].to_pylist()) == [row for row in range(40) if row % 5]
    assert set(read_table(prepared.evals[0])["label"].to_pylist()) == {-1.0, 0.0, 1.0}
    assert load_prepared(prepared.directory).train.rows == 32
    [train_line, validation_line] = report_lines({"sst2": prepared})
    assert train_line.startswith("  sst2, train: 8 left out; 8 unlabelled")
    assert "left out" not in validation_line


def test_repeated_ids_are_counted_over_blocks_and_parts_and_their_rows_stay(
    data: Path, prepare_tasks: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 20)
    ids = {"idx": list(range(50)), "key": [row % 47 for row in range(50)]}
    write(data, SST2, "train", {"sentence": sentences(50, 1), "label": [0, 1] * 25, **ids})
    splits = prepare_tasks(SST2)["sst2"].manifest["splits"]
    assert [split["duplicate_ids"] for split in splits.values()] == [0, 0], "validation has no ids"
    write(data, SST2, "validation", {"sentence": ["a"], "label": [1], "key": [1]})
    by_key = prepare_tasks(replace(SST2, id_column="key"))["sst2"]
    assert by_key.manifest["splits"]["train"]["duplicate_ids"] == 3
    assert (by_key.train.rows, len(by_key.train.files)) == (50, 3)
    assert "3 with the id of an earlier row" in report_lines({"sst2": by_key})[0]


GOOD: dict[str, Any] = {"sentence": ["a cat"] * 40, "label": [0, 1] * 20}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({**GOOD, "label": [0] * 37 + [2, 5, 0]}, r"'sst2': .*train\.parquet, row 37 has label 2, but"),
        ({**GOOD, "label": [-1] * 40}, r"none of the 40 rows of split 'train' can be .* \(40 unlabelled\)"),
        ({"label": GOOD["label"]}, r"train\.parquet has no column 'sentence' \(found: label\)"),
        ({name: pa.array([], pa.string()) for name in GOOD}, "split 'train' of nyu-mll/glue/sst2 is empty"),
    ],
)
def test_wrong_data_is_refused_in_one_line_and_leaves_nothing(
    data: Path, root: Path, prepare_tasks: Prepare, columns: dict[str, Any], message: str
) -> None:
    write(data, SST2, "train", columns)
    with pytest.raises(ValueError, match=message) as caught:
        prepare_tasks()
    assert "\n" not in str(caught.value)
    assert list(root.glob("*")) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_train_rows": 0}, "max_train_rows is 0"),
        ({"max_eval_rows": -3}, "max_eval_rows is -3"),
        ({"max_seq_length": 4}, r"max_seq_length 4 is too short for 2 text\(s\) a row: use 5 or more"),
        ({"tokenizer": "{folder}/empty"}, r"tokenizer '.*empty' cannot be loaded"),
        ({"prepared_dir": "{folder}/file/below"}, r"'.*file/below' cannot be written \(Not a directory\)"),
    ],
)
def test_a_wrong_setting_is_refused(
    prepare_tasks: Prepare, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "file").write_text("not a folder")
    paths = {key: value.format(folder=tmp_path) for key, value in changes.items() if isinstance(value, str)}
    with pytest.raises(ValueError, match=message) as caught:
        prepare_tasks(**{**changes, **paths})
    assert "\n" not in str(caught.value)


def test_a_changed_source_and_a_full_disk_are_named(
    prepare_tasks: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", Mock(side_effect=OSError(28, "No space left on device")))
        with pytest.raises(ValueError, match=r"part-00000\.parquet cannot be written \(No space left"):
            prepare_tasks(SST2)
    block = Block(0, 3, "rows.csv", partial(pa.table, {"sentence": ["a"], "label": [0]}))
    monkeypatch.setattr("pipeline.data.sources.parquet_files.parquet_blocks", lambda _: [block])
    with pytest.raises(ValueError, match=r"rows\.csv changed while it was read: prepare again"):
        prepare_tasks(SST2)


def test_of_several_faults_the_first_is_reported() -> None:
    faults = pa.Table.from_pylist(
        [{"part": PROBLEM, "position": index, "problem": f"fault {index}"} for index in (3, 1, 2)],
        schema=parts.STAGED,
    )
    assert "fault 1" in write_part(faults, splits=[])["result"][0].as_py()


@pytest.fixture
def one_free_cpu(ray_cluster: None) -> Iterator[None]:
    """Reserves the other CPU of the two that Ray has."""
    group = placement_group([{"CPU": 1}])
    assert group.wait(60)
    yield
    remove_placement_group(group)


@pytest.mark.usefixtures("one_free_cpu")
@pytest.mark.parametrize("direct_parts", [16, 0])
def test_ray_prepares_the_same_files(
    data: Path, root: Path, prepare_tasks: Prepare, monkeypatch: pytest.MonkeyPatch, direct_parts: int
) -> None:
    expected = prepare_tasks(prepared_dir=str(root.with_name("expected")))
    monkeypatch.setattr(preparation, "execute", partial(execution.execute, direct_parts=direct_parts))
    prepared = prepare_tasks()
    assert file_hashes(root) == file_hashes(root.with_name("expected"))
    assert [task.manifest for task in prepared.values()] == [task.manifest for task in expected.values()]
    write(data, STSB, "train", {"sentence1": ["a"], "sentence2": ["b"], "label": [7.5]})
    with pytest.raises(ValueError, match=r"'stsb': .*train\.parquet, row 0 has label 7\.5"):
        prepare_tasks()
