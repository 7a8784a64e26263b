"""Prepared data: right rows in a fixed order, re-used or rebuilt as it should be, never half of it."""

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from camtl.heads import HeadSpec
from pipeline.data.preparation import execution, parts
from pipeline.data.preparation import prepare as preparation
from pipeline.data.preparation.parts import PROBLEM, EncodeTask, encode_block, write_part
from pipeline.data.preparation.prepare import prepare
from pipeline.data.preparation.prepared import PreparedTask, load_prepared, read_table, report_lines
from pipeline.data.sources.open import open_source
from pipeline.data.tokenization import tokenizer_json
from pipeline.tasks.base import Task
from pipeline.tasks.registry import resolve_tasks

SINGLE = Task(
    name="single",
    dataset="toy/set",
    config="single",
    text_columns=("sentence",),
    head=HeadSpec(num_labels=2),
    metrics=("accuracy",),
)
PAIR = Task(
    name="pair",
    dataset="toy/set",
    config="pair",
    text_columns=("first", "second"),
    head=HeadSpec(kind="regression", num_labels=1, label_range=(0, 5)),
    metrics=("pearson",),
)
WORDS = ("the", "a", "cat", "dog", "sat", "ran", "house", "not", "very", "unheard", "##ed")
SETTINGS: dict[str, Any] = {"max_seq_length": 12, "max_train_rows": None, "max_eval_rows": None}


def sentences(count: int, salt: int) -> list[str]:
    generator = np.random.default_rng(salt)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 9))) for _ in range(count)]


def write(root: Path, task: Task, split: str, columns: Mapping[str, Sequence[object] | pa.Array]) -> Path:
    path = root / task.dataset / task.config / f"{split}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path, row_group_size=16)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with 50 + 7 rows of `single` and 30 + 5 rows of `pair`."""
    root = tmp_path / "data"
    for split, count in (("train", 50), ("validation", 7)):
        columns = {"sentence": sentences(count, count), "label": [index % 2 for index in range(count)]}
        write(root, SINGLE, split, columns)
    for split, count in (("train", 30), ("validation", 5)):
        first, second = sentences(count, count), sentences(count, count + 1)
        labels = [index / 10 for index in range(count)]
        write(root, PAIR, split, {"first": first, "second": second, "label": labels})
    return root


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Runs the two stages here, in the place of Ray Data; counts the jobs of each execution."""
    executions: list[int] = []

    def execute(tasks: Sequence[EncodeTask], splits: Sequence[parts.SplitSpec], tokenizer: str) -> pa.Table:
        executions.append(len(tasks))
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
    return executions


def prepared(data: Path, tokenizer: str, *tasks: Task, **changes: Any) -> dict[str, PreparedTask]:
    settings = SETTINGS | {"prepared_dir": str(data.parent / "prepared")} | changes
    return prepare(tasks or (SINGLE, PAIR), open_source(str(data)), tokenizer=tokenizer, **settings)


def content(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*.parquet")))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_rows_are_what_the_tokenizer_makes_of_them(
    data: Path, tokenizer_dir: str, in_process: list[int]
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    done = prepared(data, tokenizer_dir)
    assert list(done) == ["single", "pair"]
    for task in (SINGLE, PAIR):
        for split in (done[task.name].train, *done[task.name].evals):
            source = pq.read_table(data / task.dataset / task.config / f"{split.split}.parquet").to_pydict()
            table = read_table(split).to_pydict()
            assert sorted(table["row_id"]) == list(range(split.rows))
            assert split.rows == len(source["label"])
            texts = [[source[column][row] for row in table["row_id"]] for column in task.text_columns]
            expected = tokenizer(
                *texts, truncation="longest_first", max_length=12, return_token_type_ids=True
            )
            assert table["input_ids"] == expected["input_ids"]
            assert table["token_type_ids"] == expected["token_type_ids"]
            assert table["label"] == pytest.approx([source["label"][row] for row in table["row_id"]])


def test_the_order_is_shuffled_and_does_not_depend_on_limits(
    data: Path, tokenizer_dir: str, in_process: list[int]
) -> None:
    whole = prepared(data, tokenizer_dir, SINGLE)["single"]
    order = read_table(whole.train)["row_id"].to_pylist()
    assert order != sorted(order)
    some = prepared(data, tokenizer_dir, SINGLE, max_train_rows=9, max_eval_rows=3)["single"]
    assert read_table(some.train)["row_id"].to_pylist() == order[:9]
    assert [split.rows for split in some.evals] == [3]
    assert some.directory != whole.directory


def test_a_limit_keeps_rows_that_are_measured_together(
    data: Path, tokenizer_dir: str, in_process: list[int]
) -> None:
    asked = dataclasses.replace(SINGLE, columns={"question": "label"})
    some = prepared(data, tokenizer_dir, asked, max_train_rows=9, max_eval_rows=3)["single"]
    assert [read_table(split)["row_id"].to_pylist() for split in some.evals] == [[0, 1, 2]]
    order = read_table(some.train)["row_id"].to_pylist()
    assert order != sorted(order)


def test_preparing_twice_gives_the_same_bytes(data: Path, tokenizer_dir: str, in_process: list[int]) -> None:
    prepared(data, tokenizer_dir)
    shutil.copytree(data, data.parent / "elsewhere" / "data")
    prepared(data.parent / "elsewhere" / "data", tokenizer_dir)
    assert content(data.parent / "prepared") == content(data.parent / "elsewhere" / "prepared") != {}


def test_long_splits_are_cut_into_parts(
    data: Path, tokenizer_dir: str, in_process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepared(data, tokenizer_dir, prepared_dir=str(data.parent / "whole"))
    monkeypatch.setattr(parts, "PART_ROWS", 20)
    cut = prepared(data, tokenizer_dir)
    assert [os.path.basename(file) for file in cut["single"].train.files] == [
        f"part-{index:05d}.parquet" for index in range(3)
    ]
    assert [pq.read_metadata(file).num_rows for file in cut["pair"].train.files] == [20, 10]
    for name in cut:
        assert read_table(cut[name].train).equals(read_table(whole[name].train))


def test_files_are_cut_into_row_groups_that_can_be_read_alone(
    data: Path, tokenizer_dir: str, in_process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 16)
    train = prepared(data, tokenizer_dir)["single"].train
    groups = pq.ParquetFile(train.files[0]).metadata
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups)] == [16, 16, 16, 2]
    assert (train.rows, train.file_rows) == (50, (50,))
    assert train.tokens == sum(len(ids) for ids in read_table(train)["input_ids"].to_pylist())


def test_the_manifest_tells_what_is_there(data: Path, tokenizer_dir: str, in_process: list[int]) -> None:
    done = prepared(data, tokenizer_dir)["single"]
    manifest = json.loads((Path(done.directory) / "manifest.json").read_text())
    assert manifest == done.manifest
    assert manifest["task"] == "single"
    assert manifest["tokenizer"]["name"] == tokenizer_dir
    train = manifest["splits"]["train"]
    table = read_table(done.train)
    assert train["label_counts"] == [25, 25]
    assert train["tokens"] == sum(len(ids) for ids in table["input_ids"].to_pylist())
    source = pq.read_table(data / "toy/set/single/train.parquet")["sentence"].to_pylist()
    assert train["truncated"] == sum(len(text.replace("##", "# # ").split()) > 10 for text in source)
    [(file, told)] = train["files"].items()
    assert told["rows"] == 50
    assert told["sha256"] == hashlib.sha256((Path(done.directory) / "train" / file).read_bytes()).hexdigest()


def test_rows_without_a_label_are_kept_for_prediction_and_not_trained_on(
    data: Path, tokenizer_dir: str, in_process: list[int]
) -> None:
    for split in ("train", "validation"):
        labels = [-1 if row % 5 == 0 else row % 2 for row in range(40)]
        write(data, SINGLE, split, {"sentence": sentences(40, 1), "label": labels})
    done = prepared(data, tokenizer_dir, SINGLE)["single"]
    train, validation = done.manifest["splits"]["train"], done.manifest["splits"]["validation"]
    assert (train["rows"], train["source_rows"], train["report"]) == (32, 40, {"unlabelled": 8})
    assert (validation["rows"], validation["report"]) == (40, {"unlabelled": 8})
    assert set(read_table(done.train)["label"].to_pylist()) == {0.0, 1.0}
    assert sorted(read_table(done.train)["row_id"].to_pylist()) == [row for row in range(40) if row % 5]
    assert sorted(set(read_table(done.evals[0])["label"].to_pylist())) == [-1.0, 0.0, 1.0]
    assert load_prepared(done.directory).train.rows == 32
    [train_line, validation_line] = report_lines({"single": done})
    assert train_line.startswith("  single, train: 8 left out; 8 unlabelled")
    assert "left out" not in validation_line


def test_ids_that_repeat_are_counted_over_all_blocks_and_parts_and_the_rows_stay(
    data: Path, tokenizer_dir: str, in_process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 20)
    rows = {"sentence": sentences(50, 1), "label": [0, 1] * 25, "key": [row % 47 for row in range(50)]}
    write(data, SINGLE, "train", {**rows, "idx": list(range(50))})
    done = prepared(data, tokenizer_dir, SINGLE)["single"]
    assert done.manifest["splits"]["train"]["duplicate_ids"] == 0
    assert done.manifest["splits"]["validation"]["duplicate_ids"] == 0, "has no ids at all"
    write(data, SINGLE, "validation", {**rows, "key": list(range(50))})
    keyed = prepared(data, tokenizer_dir, dataclasses.replace(SINGLE, id_column="key"))["single"]
    assert keyed.manifest["splits"]["train"]["duplicate_ids"] == 3
    assert (keyed.train.rows, len(keyed.train.files)) == (50, 3)
    [line] = [line for line in report_lines({"single": keyed}) if "train" in line]
    assert "3 with the id of an earlier row" in line
    with pytest.raises(ValueError, match="has no column 'uid'"):
        prepared(data, tokenizer_dir, dataclasses.replace(SINGLE, id_column="uid"))


def test_files_of_ones_own_may_move(data: Path, tokenizer_dir: str, in_process: list[int]) -> None:
    def task(folder: Path) -> Task:
        folder.mkdir()
        (folder / "rows.csv").write_text("sentence,label\na cat,0\nthe dog ran,1\n")
        files = tuple((split, str(folder / "rows.csv")) for split in ("train", "validation"))
        return dataclasses.replace(SINGLE, dataset="files", files=files)

    first = prepared(data, tokenizer_dir, task(data / "here"))["single"]
    assert prepared(data, tokenizer_dir, task(data / "there"))["single"] == first
    assert (first.train.rows, len(in_process)) == (2, 1)


def test_nothing_is_done_again_until_something_changes(
    data: Path,
    tokenizer_dir: str,
    make_tokenizer: Callable[..., str],
    in_process: list[int],
    tmp_path: Path,
) -> None:
    first = prepared(data, tokenizer_dir)
    assert prepared(data, tokenizer_dir) == first
    retold = dataclasses.replace(SINGLE, description="told otherwise", metrics=("mcc",))
    assert prepared(data, tokenizer_dir, retold)["single"] == first["single"]
    copy = shutil.copytree(tokenizer_dir, tmp_path / "copy")
    prepared(data, str(copy))
    assert len(in_process) == 1
    prepared(data, tokenizer_dir, max_seq_length=8)
    prepared(data, make_tokenizer(tmp_path / "other", "more"))
    assert len(in_process) == 3
    write(data, SINGLE, "validation", {"sentence": ["a cat"], "label": [1]})
    again = prepared(data, tokenizer_dir)
    assert len(in_process) == 4
    assert again["pair"] == first["pair"]  # only what changed
    assert again["single"].evals[0].rows == 1


@pytest.mark.parametrize("damage", ["file gone", "file cut", "manifest gone", "manifest cut", "rows"])
def test_a_damaged_folder_is_built_anew(
    data: Path, tokenizer_dir: str, in_process: list[int], damage: str
) -> None:
    done = prepared(data, tokenizer_dir, SINGLE)["single"]
    manifest, file = Path(done.directory) / "manifest.json", Path(done.train.files[0])
    whole = content(data.parent / "prepared")
    if damage == "file gone":
        file.unlink()
    elif damage == "file cut":
        file.write_bytes(file.read_bytes()[:-9])
    elif damage == "manifest gone":
        manifest.unlink()
    elif damage == "manifest cut":
        manifest.write_text(manifest.read_text()[:40])
    else:
        pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(ValueError, match="is incomplete"):
        load_prepared(done.directory)
    assert prepared(data, tokenizer_dir, SINGLE)["single"] == done
    assert len(in_process) == 2
    assert content(data.parent / "prepared") == whole
    assert [path.name for path in (data.parent / "prepared").iterdir()] == [Path(done.directory).name]


def test_rot_inside_a_file_is_found_when_it_is_read(
    data: Path, tokenizer_dir: str, in_process: list[int]
) -> None:
    done = prepared(data, tokenizer_dir, SINGLE)["single"]
    file = Path(done.train.files[0])
    rotten = bytearray(file.read_bytes())
    rotten[len(rotten) // 3] ^= 0xFF
    file.write_bytes(bytes(rotten))
    with pytest.raises(
        ValueError, match=r"part-00000\.parquet is corrupt .* delete .*single-.* to prepare it again"
    ):
        read_table(done.train)


def test_an_interrupted_preparation_leaves_nothing(
    data: Path, tokenizer_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation, "execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepared(data, tokenizer_dir)
    assert list((data.parent / "prepared").iterdir()) == []


def test_the_process_that_comes_second_takes_what_the_first_has_made(
    data: Path, tokenizer_dir: str, in_process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = prepared(data, tokenizer_dir, SINGLE)["single"]
    made = os.stat(theirs.train.files[0])
    found = iter([ValueError("not yet there")])

    def load(directory: Path) -> PreparedTask:
        for error in found:
            raise error
        return load_prepared(directory)

    monkeypatch.setattr(preparation, "load_prepared", load)
    assert prepared(data, tokenizer_dir, SINGLE)["single"] == theirs
    assert len(in_process) == 2
    assert os.stat(theirs.train.files[0]).st_ino == made.st_ino
    assert len(list((data.parent / "prepared").iterdir())) == 1


GOOD: dict[str, Any] = {"sentence": ["a cat"] * 40, "label": [0, 1] * 20}


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            {**GOOD, "label": [0] * 37 + [2, 5, 0]},
            r"'single': .*train\.parquet, row 37 has label 2, but .* 0 to 1",
        ),
        ({**GOOD, "label": [-1] * 40}, r"none of the 40 rows of split 'train' can be used \(40 unlabelled\)"),
        ({**GOOD, "label": [0.0] * 20 + [0.5] * 20}, r"row 20 has label 0\.5, but .* whole numbers"),
        ({**GOOD, "label": [0] * 39 + [None]}, r"row 39 has label None, but"),
        ({**GOOD, "label": ["yes"] * 40}, r"column 'label' of .* holds string: give labels as numbers"),
        ({"label": GOOD["label"]}, r"train\.parquet has no column 'sentence' \(found: label\)"),
        ({"sentence": GOOD["sentence"]}, r"has no column 'label' \(found: sentence\)"),
        ({**GOOD, "sentence": ["a"] * 20 + [None] * 20}, r"row 20 has no 'sentence'"),
        ({**GOOD, "sentence": [1] * 40}, r"column 'sentence' of .* holds int64"),
        ({name: pa.array([], pa.string()) for name in GOOD}, r"split 'train' of toy/set/single is empty"),
    ],
)
def test_faulty_data_is_one_clear_line_and_leaves_nothing(
    data: Path, tokenizer_dir: str, in_process: list[int], columns: dict[str, Any], told: str
) -> None:
    write(data, SINGLE, "train", columns)
    with pytest.raises(ValueError, match=told) as caught:
        prepared(data, tokenizer_dir)
    assert "\n" not in str(caught.value)
    assert list((data.parent / "prepared").glob("*")) == []


@pytest.mark.parametrize("label", [-0.1, 5.1, float("nan"), float("inf")])
def test_a_regression_label_outside_its_range_is_refused(
    data: Path, tokenizer_dir: str, in_process: list[int], label: float
) -> None:
    write(data, PAIR, "validation", {"first": ["a"] * 2, "second": ["b"] * 2, "label": [5.0, label]})
    with pytest.raises(ValueError, match=r"'pair': .*validation\.parquet, row 1 has label .* takes 0 to 5"):
        prepared(data, tokenizer_dir)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_train_rows": 0}, "max_train_rows is 0"),
        ({"max_eval_rows": -3}, "max_eval_rows is -3"),
        ({"max_seq_length": 4}, r"max_seq_length 4 is too short for 2 text\(s\) a row: use 5 or more"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    data: Path, tokenizer_dir: str, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        prepared(data, tokenizer_dir, **changes)


def test_a_folder_without_tokenizer_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tokenizer '.*empty' cannot be loaded") as caught:
        prepared(data, str(tmp_path / "empty"))
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(data: Path, tokenizer_dir: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        ValueError, match=r"prepared_dir '.*file/below' cannot be written \(Not a directory\)"
    ):
        prepared(data, tokenizer_dir, prepared_dir=str(tmp_path / "file" / "below"))


def test_the_tokenizer_of_a_saved_model_is_the_one_it_was_made_with(
    tokenizer_dir: str, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    tokenizer(["a cat"], padding="max_length", truncation=True, max_length=7)
    tokenizer.save_pretrained(tmp_path)
    assert tokenizer_json(str(tmp_path)) == tokenizer_json(tokenizer_dir)


def test_of_several_faults_the_first_is_told() -> None:
    faults = pa.Table.from_pylist(
        [{"part": PROBLEM, "position": place, "problem": f"fault {place}"} for place in (3, 1, 2)],
        schema=parts.STAGED,
    )
    assert "fault 1" in write_part(faults, splits=[])["result"][0].as_py()


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("direct_parts", [16, 0])
def test_ray_prepares_what_the_functions_do(
    data: Path, tokenizer_dir: str, in_process: list[int], monkeypatch: pytest.MonkeyPatch, direct_parts: int
) -> None:
    expected = prepared(data, tokenizer_dir, prepared_dir=str(data.parent / "here"))
    monkeypatch.undo()
    monkeypatch.setattr(preparation, "execute", partial(execution.execute, direct_parts=direct_parts))
    done = prepared(data, tokenizer_dir)
    assert content(data.parent / "prepared") == content(data.parent / "here")
    assert {name: task.manifest for name, task in done.items()} == {
        name: task.manifest for name, task in expected.items()
    }
    write(data, PAIR, "train", {"first": ["a"], "second": ["b"], "label": [7.5]})
    with pytest.raises(ValueError, match=r"'pair': .*train\.parquet, row 0 has label 7\.5"):
        prepared(data, tokenizer_dir)


@pytest.mark.usefixtures("ray_cluster")
def test_real_data_is_prepared_while_one_cpu_is_taken(
    glue_data: Path, tokenizer_dir: str, tmp_path: Path
) -> None:
    import ray

    class Worker:
        def ready(self) -> bool:
            return True

    remote: Any = ray.remote(num_cpus=1)(Worker)
    worker = remote.remote()
    assert ray.get(worker.ready.remote())
    done = prepare(
        resolve_tasks(["rte", "wnli", "mrpc"]),
        open_source(str(glue_data)),
        tokenizer=tokenizer_dir,
        max_seq_length=128,
        max_train_rows=500,
        max_eval_rows=None,
        prepared_dir=str(tmp_path),
    )
    ray.kill(worker)
    assert {name: task.train.rows for name, task in done.items()} == {"rte": 500, "wnli": 500, "mrpc": 500}
    assert done["rte"].evals[0].rows == 277
    assert len(read_table(done["mrpc"].train)) == 500
