"""Prepared data is re-used or rebuilt as needed, and is never incomplete."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from pipeline.data.preparation import prepare as preparation
from pipeline.data.preparation.prepared import load_prepared, read_table
from pipeline.tasks.base import Task
from tests.pipeline.data.preparation.conftest import SST2, Prepare, file_hashes, write


def test_only_what_changed_is_prepared_again(
    data: Path,
    tokenizer_dir: str,
    make_tokenizer: Callable[..., str],
    prepare_tasks: Prepare,
    executions: list[int],
    tmp_path: Path,
) -> None:
    first = prepare_tasks()
    assert prepare_tasks() == first
    described = replace(SST2, description="another", metrics=("mcc",))
    assert prepare_tasks(described)["sst2"] == first["sst2"]
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    tokenizer(["a cat"], padding="max_length", truncation=True, max_length=7)  # becomes part of the saved one
    tokenizer.save_pretrained(tmp_path / "copy")
    prepare_tasks(tokenizer=str(tmp_path / "copy"))
    assert len(executions) == 1
    prepare_tasks(max_seq_length=8)
    prepare_tasks(tokenizer=make_tokenizer(tmp_path / "other", "more"))
    assert len(executions) == 3
    write(data, SST2, "validation", {"sentence": ["a cat"], "label": [1]})
    again = prepare_tasks()
    assert len(executions) == 4
    assert again["stsb"] == first["stsb"]
    assert again["sst2"].evals[0].rows == 1


def test_moved_files_of_a_task_are_not_prepared_again(
    data: Path, prepare_tasks: Prepare, executions: list[int]
) -> None:
    def task(folder: Path) -> Task:
        folder.mkdir()
        (folder / "rows.csv").write_text("sentence,label\na cat,0\nthe dog ran,1\n")
        files = tuple((split, str(folder / "rows.csv")) for split in ("train", "validation"))
        return replace(SST2, dataset="files", files=files)

    first = prepare_tasks(task(data / "here"))["sst2"]
    assert prepare_tasks(task(data / "there"))["sst2"] == first
    assert (first.train.rows, len(executions)) == (2, 1)


DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "no file": lambda file, manifest: file.unlink(),
    "a file cut short": lambda file, manifest: file.write_bytes(file.read_bytes()[:-9]),
    "a row less": lambda file, manifest: pq.write_table(pq.read_table(file).slice(1), file),
    "no manifest": lambda file, manifest: manifest.unlink(),
    "a manifest cut short": lambda file, manifest: manifest.write_text(manifest.read_text()[:40]),
    "an older version": lambda file, manifest: manifest.write_text('{"task": "sst2", "schema_version": 1}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_folder_is_prepared_again(
    root: Path, prepare_tasks: Prepare, executions: list[int], damage: Callable[[Path, Path], object]
) -> None:
    prepared = prepare_tasks(SST2)["sst2"]
    intact = file_hashes(root)
    damage(Path(prepared.train.files[0]), Path(prepared.directory, "manifest.json"))
    with pytest.raises(ValueError, match="is incomplete"):
        load_prepared(prepared.directory)
    assert prepare_tasks(SST2)["sst2"] == prepared
    assert len(executions) == 2
    assert file_hashes(root) == intact
    assert [path.name for path in root.iterdir()] == [Path(prepared.directory).name]


def test_corruption_inside_a_file_is_detected_when_it_is_read(prepare_tasks: Prepare) -> None:
    prepared = prepare_tasks(SST2)["sst2"]
    file = Path(prepared.train.files[0])
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"part-00000\.parquet is corrupt .* delete .*sst2-.* to prepare"):
        read_table(prepared.train)


def test_an_interrupted_preparation_leaves_nothing(
    root: Path, prepare_tasks: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "execute", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare_tasks()
    assert list(root.iterdir()) == []


def test_the_second_of_two_processes_uses_what_the_first_has_written(
    root: Path, prepare_tasks: Prepare, executions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare_tasks(SST2)["sst2"]
    inode = os.stat(first.train.files[0]).st_ino
    monkeypatch.setattr(preparation, "load_prepared", Mock(side_effect=[ValueError("incomplete"), first]))
    assert prepare_tasks(SST2)["sst2"] == first
    assert len(executions) == 2
    assert os.stat(first.train.files[0]).st_ino == inode
    assert len(list(root.iterdir())) == 1
