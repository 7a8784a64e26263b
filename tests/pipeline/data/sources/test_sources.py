"""Sources read every row once and refuse what is missing in one line."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.sources import hub, parquet_files
from pipeline.data.sources.base import BLOCK_ROWS, Source, used_splits
from pipeline.data.sources.open import open_source
from pipeline.data.sources.parquet_files import block_ranges
from pipeline.tasks.base import HubSubset, Task
from pipeline.tasks.embedded import suite
from pipeline.tasks.registry import KNOWN_TASKS

RTE = KNOWN_TASKS["rte"]


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    hub._load_splits.cache_clear()


def rows(count: int, start: int = 0) -> pa.Table:
    numbers = range(start, start + count)
    return pa.table({"text": [f"row {number}" for number in numbers], "label": list(numbers)})


def make_folder(path: Path, *, train: int = 10, row_group_size: int = 4) -> Path:
    directory = path / RTE.dataset / RTE.config
    directory.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows(train), directory / "train.parquet", row_group_size=row_group_size)
    pq.write_table(rows(3, start=100), directory / "validation.parquet")
    return path


def write_card(folder: Path, config: str, splits: tuple[str, ...]) -> None:
    """Writes the Hub's card, with which `load_dataset` takes a local folder for an id."""
    files = "".join(f"  - split: {split}\n    path: {config}/{split}.parquet\n" for split in splits)
    card = f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{files}---\n"
    (folder / "README.md").write_text(card)


def read(source: Source, task: Task, split: str) -> pa.Table:
    blocks = source.blocks(task, split)
    first = 0
    for block in blocks:
        assert (block.first_row, block.rows) == (first, block.read().num_rows)
        first += block.rows
    return pa.concat_tables([block.read() for block in blocks])


def test_a_folder_gives_every_row_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "BLOCK_ROWS", 5)
    source = open_source(str(make_folder(tmp_path, train=33, row_group_size=8)))
    source.check(RTE)
    assert source.splits(RTE) == ("train", "validation")
    assert read(source, RTE, "train").equals(rows(33))
    assert read(source, RTE, "validation").equals(rows(3, start=100))


@given(st.lists(st.integers(0, 3 * BLOCK_ROWS), max_size=20))
def test_blocks_cover_a_file_without_gap_or_overlap(groups: list[int]) -> None:
    first = 0
    for start, count in block_ranges(groups):
        assert start == first
        assert 0 < count <= BLOCK_ROWS
        first += count
    assert first == sum(groups)


def test_small_row_groups_share_a_block_and_a_huge_one_is_cut_into_sixteen() -> None:
    assert block_ranges([1000] * 6) == [(0, 4000), (4000, 2000)]
    assert len(block_ranges([1_000_000])) == 16


def test_a_fingerprint_follows_the_content_of_the_used_splits(tmp_path: Path) -> None:
    source = open_source(str(make_folder(tmp_path / "a")))
    before = source.fingerprint(RTE)
    assert open_source(str(make_folder(tmp_path / "b"))).fingerprint(RTE) == before
    pq.write_table(rows(5), tmp_path / "a" / RTE.dataset / RTE.config / "test.parquet")
    assert source.fingerprint(RTE) == before
    make_folder(tmp_path / "a", train=11)
    assert source.fingerprint(RTE) != before


def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data source 'nowhere' is not a folder: give 'hub', 'embedded'"):
        open_source("nowhere")
    with pytest.raises(ValueError, match=r"task 'rte': no Parquet file in .*nyu-mll/glue/rte"):
        open_source(str(tmp_path)).splits(RTE)
    directory = make_folder(tmp_path) / RTE.dataset / RTE.config
    (directory / "validation.parquet").unlink()
    with pytest.raises(ValueError, match=r"nyu-mll/glue/rte has no split 'validation' \(found: train\)"):
        open_source(str(tmp_path)).fingerprint(RTE)


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    source = open_source(str(make_folder(tmp_path)))
    path = tmp_path / RTE.dataset / RTE.config / "train.parquet"
    [block, *_] = source.blocks(RTE, "train")
    path.write_bytes(path.read_bytes()[:-20])
    for action in (block.read, lambda: source.blocks(RTE, "train"), lambda: source.check(RTE)):
        with pytest.raises(ValueError, match=r"train\.parquet cannot be read as Parquet .* cut short"):
            action()


def test_one_of_two_evaluation_splits_suffices() -> None:
    mnli = KNOWN_TASKS["mnli"]
    assert used_splits(mnli, ("train", "validation_matched")) == ("train", "validation_matched")
    both = ("validation_mismatched", "test", "validation_matched", "train")
    assert used_splits(mnli, both) == ("train", "validation_matched", "validation_mismatched")


def test_the_embedded_suite_is_always_the_same() -> None:
    source = open_source("embedded")
    task = suite.TASKS[0]
    assert source.splits(task) == ("train", "validation")
    table = read(source, task, "train")
    assert set(task.text_columns) | {task.label_column} <= set(table.column_names)
    assert source.fingerprint(task) == open_source("embedded").fingerprint(task)
    with pytest.raises(
        ValueError, match=r"task 'rte' is not one of the embedded suite \(.*set the data source"
    ):
        source.splits(RTE)
    with pytest.raises(ValueError, match="set the data source to 'embedded'"):
        open_source("hub").splits(task)


def test_the_hub_is_read_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, train=33)
    write_card(tmp_path / RTE.dataset, "rte", ("train", "validation"))
    task = replace(RTE, name="local", dataset=str(tmp_path / RTE.dataset))
    monkeypatch.setattr(hub, "BLOCK_ROWS", 20)
    source = open_source("hub")
    assert set(source.splits(task)) == {"train", "validation"}
    origin = f"{task.dataset}/rte/train"
    blocks = source.blocks(task, "train")
    assert [(block.rows, block.origin) for block in blocks] == [(20, origin), (13, origin)]
    assert read(source, task, "train").to_pydict() == rows(33).to_pydict()
    assert len(source.fingerprint(task)) == 64


def test_a_task_reads_its_rows_of_a_configuration_that_tasks_share(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    for split, subsets in {"train": "abbab", "validation": "bba", "test": "bb"}.items():
        table = pa.table({"subset": list(subsets), "context": [f"{split} {n}" for n in range(len(subsets))]})
        pq.write_table(table, tmp_path / "all" / f"{split}.parquet")
    write_card(tmp_path, "all", ("train", "validation", "test"))

    def task(value: str, column: str = "subset") -> Task:
        subset = HubSubset(config="all", column=column, value=value)
        return replace(RTE, name=value, dataset=str(tmp_path), config=value, hub_subset=subset)

    source = open_source("hub")
    assert source.splits(task("a")) == ("train", "validation")
    assert source.splits(task("b")) == ("train", "validation", "test")
    assert read(source, task("a"), "train")["context"].to_pylist() == ["train 0", "train 3"]
    assert read(source, task("b"), "train")["context"].to_pylist() == ["train 1", "train 2", "train 4"]
    assert source.fingerprint(task("a")) != source.fingerprint(task("b"))
    with pytest.raises(ValueError, match=r"have no column 'set' \(found: subset, context\)"):
        source.splits(task("a", column="set"))


def test_a_set_of_a_script_is_read_from_the_hubs_parquet_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    def load(*names: str, **options: str) -> dict[str, object]:
        calls.append((*names, *options.items()))
        if not options:
            raise RuntimeError("Dataset scripts are no longer supported, but found set.py")
        return {"train": None}

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert open_source("hub").splits(RTE) == ("train",)
    exported = (("data_dir", "rte"), ("revision", "refs/convert/parquet"))
    assert calls == [("nyu-mll/glue", "rte"), ("nyu-mll/glue", *exported)]


@pytest.mark.parametrize("error", [ConnectionError, RuntimeError])
def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    monkeypatch.setattr(datasets, "load_dataset", Mock(side_effect=error("Couldn't reach the Hub\nand more")))
    with pytest.raises(ValueError, match=r"nyu-mll/glue \(rte\) could not be loaded .*a folder") as caught:
        open_source("hub").splits(RTE)
    assert "\n" not in str(caught.value)


def test_the_files_of_a_task_are_read_with_any_source(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n" + "a,1\n" * 10)
    (tmp_path / "dev.jsonl").write_text('{"text": "b", "label": 0}\n')
    files = (("train", str(tmp_path / "train.csv")), ("validation", str(tmp_path / "dev.jsonl")))
    task = replace(RTE, name="reviews", dataset="files", config="reviews", files=files)
    for spec in ("embedded", str(make_folder(tmp_path / "folder"))):
        source = open_source(spec)
        source.check(task)
        assert source.splits(task) == ("train", "validation")
        assert read(source, task, "train").num_rows == 10
        assert source.blocks(task, "train")[0].origin.endswith("train.csv"), "errors name the file"
        assert read(source, task, "validation").to_pylist() == [{"text": "b", "label": 0}]
    assert source.splits(RTE) == ("train", "validation")
    before = source.fingerprint(task)
    (tmp_path / "train.csv").write_text("text,label\n" + "a,0\n" * 10)
    assert source.fingerprint(task) != before
    (tmp_path / "dev.jsonl").unlink()
    with pytest.raises(ValueError, match=r"dev\.jsonl cannot be read \(No such file or directory\): check"):
        source.fingerprint(task)
