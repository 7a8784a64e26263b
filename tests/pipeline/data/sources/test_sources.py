"""Sources: every row once, and a clear line where something is not as it should be."""

from dataclasses import replace
from pathlib import Path

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
from pipeline.tasks.embedded import suite as embedded
from pipeline.tasks.registry import KNOWN_TASKS

RTE = KNOWN_TASKS["rte"]


def rows(count: int, start: int = 0) -> pa.Table:
    indices = list(range(start, start + count))
    return pa.table(
        {
            "sentence1": [f"first {index}" for index in indices],
            "sentence2": [f"second {index}" for index in indices],
            "label": [index % 2 for index in indices],
            "idx": indices,
        }
    )


def folder(path: Path, task: Task = RTE, *, train: int = 10, row_group_size: int = 4) -> Path:
    directory = path / task.dataset / task.config
    directory.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows(train), directory / "train.parquet", row_group_size=row_group_size)
    pq.write_table(rows(3, start=100), directory / "validation.parquet")
    return path


def read(source: Source, task: Task, split: str) -> pa.Table:
    blocks = source.blocks(task, split)
    first = 0
    for block in blocks:
        assert (block.first_row, block.rows) == (first, block.read().num_rows)
        first += block.rows
    return pa.concat_tables([block.read() for block in blocks])


def test_a_folder_gives_every_row_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "BLOCK_ROWS", 5)
    source = open_source(str(folder(tmp_path, train=33, row_group_size=8)))
    assert source.splits(RTE) == ("train", "validation")
    assert read(source, RTE, "train").equals(rows(33))
    assert read(source, RTE, "validation").equals(rows(3, start=100))


@given(st.lists(st.integers(0, 3 * BLOCK_ROWS), max_size=20))
def test_blocks_cover_a_file_without_gap_or_overlap(groups: list[int]) -> None:
    cuts = block_ranges(groups)
    first = 0
    for start, count in cuts:
        assert start == first
        assert 0 < count <= BLOCK_ROWS
        first += count
    assert first == sum(groups)


def test_a_huge_row_group_is_not_read_too_often() -> None:
    assert len(block_ranges([1_000_000])) == 16


def test_small_row_groups_share_a_block() -> None:
    assert block_ranges([1000] * 6) == [(0, 4000), (4000, 2000)]


def test_a_fingerprint_follows_the_content_of_the_splits_used(tmp_path: Path) -> None:
    source = open_source(str(folder(tmp_path / "a")))
    before = source.fingerprint(RTE)
    assert open_source(str(folder(tmp_path / "b"))).fingerprint(RTE) == before
    pq.write_table(rows(5), tmp_path / "a" / RTE.dataset / RTE.config / "test.parquet")
    assert source.fingerprint(RTE) == before
    folder(tmp_path / "a", train=11)
    assert source.fingerprint(RTE) != before


def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data source 'nowhere' is not a folder: give 'hub', 'embedded'"):
        open_source("nowhere")
    with pytest.raises(ValueError, match=r"task 'rte': no Parquet file in .*nyu-mll/glue/rte"):
        open_source(str(tmp_path)).splits(RTE)
    directory = tmp_path / RTE.dataset / RTE.config
    directory.mkdir(parents=True)
    pq.write_table(rows(3), directory / "train.parquet")
    with pytest.raises(ValueError, match=r"nyu-mll/glue/rte has no split 'validation' \(found: train\)"):
        open_source(str(tmp_path)).fingerprint(RTE)


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    source = open_source(str(folder(tmp_path)))
    path = tmp_path / RTE.dataset / RTE.config / "train.parquet"
    [block, *_] = source.blocks(RTE, "train")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"train\.parquet cannot be read as Parquet .* cut short"):
        source.blocks(RTE, "train")
    with pytest.raises(ValueError, match=r"train\.parquet cannot be read as Parquet"):
        block.read()


def test_of_mnlis_two_evaluation_splits_one_is_enough() -> None:
    mnli = KNOWN_TASKS["mnli"]
    assert used_splits(mnli, ("train", "validation_matched")) == ("train", "validation_matched")
    both = ("validation_mismatched", "test", "validation_matched", "train")
    assert used_splits(mnli, both) == ("train", "validation_matched", "validation_mismatched")


def test_the_embedded_suite_is_always_the_same() -> None:
    source = open_source("embedded")
    task = embedded.TASKS[0]
    assert source.splits(task) == ("train", "validation")
    table = read(source, task, "train")
    assert set(task.text_columns) | {task.label_column} <= set(table.column_names)
    assert source.fingerprint(task) == open_source("embedded").fingerprint(task)
    with pytest.raises(
        ValueError, match=r"task 'rte' is not one of the embedded suite \(.*set the data source"
    ):
        source.splits(RTE)


def test_the_hub_is_read_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    # `load_dataset` takes a folder with the Hub's card in the place of an id.
    folder(tmp_path, train=33)
    (tmp_path / RTE.dataset / "README.md").write_text(
        "---\nconfigs:\n- config_name: rte\n  data_files:\n  - split: train\n    path: rte/train.parquet\n"
        "  - split: validation\n    path: rte/validation.parquet\n---\n"
    )
    task = Task(
        name="local",
        dataset=str(tmp_path / RTE.dataset),
        config="rte",
        text_columns=RTE.text_columns,
        head=RTE.head,
        metrics=RTE.metrics,
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "BLOCK_ROWS", 20)
    source = open_source("hub")
    assert set(source.splits(task)) == {"train", "validation"}
    assert [block.rows for block in source.blocks(task, "train")] == [20, 13]
    assert read(source, task, "train").to_pydict() == rows(33).to_pydict()
    assert len(source.fingerprint(task)) == 64


@pytest.fixture
def hub_of_subsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set whose one configuration has the rows of two tasks, mixed; the test split those of one."""
    import datasets

    for split, subsets in {"train": "abbab", "validation": "bba", "test": "bb"}.items():
        table = pa.table({"subset": list(subsets), "context": [f"{split} {n}" for n in range(len(subsets))]})
        (tmp_path / "set" / "all").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, tmp_path / "set" / "all" / f"{split}.parquet")
    files = "".join(
        f"  - split: {split}\n    path: all/{split}.parquet\n" for split in ("train", "validation", "test")
    )
    (tmp_path / "set" / "README.md").write_text(
        f"---\nconfigs:\n- config_name: all\n  data_files:\n{files}---\n"
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return str(tmp_path / "set")


def test_a_task_has_its_own_rows_of_a_set_that_the_hub_keeps_together(hub_of_subsets: str) -> None:
    def task(value: str, column: str = "subset") -> Task:
        subset = HubSubset(config="all", column=column, value=value)
        return replace(RTE, name=value, dataset=hub_of_subsets, config=value, hub_subset=subset)

    source = open_source("hub")
    assert source.splits(task("a")) == ("train", "validation")
    assert source.splits(task("b")) == ("train", "validation", "test")
    assert read(source, task("a"), "train")["context"].to_pylist() == ["train 0", "train 3"]
    assert read(source, task("b"), "train")["context"].to_pylist() == ["train 1", "train 2", "train 4"]
    assert source.fingerprint(task("a")) != source.fingerprint(task("b"))
    with pytest.raises(ValueError, match=r"have no column 'set' \(found: subset, context\)"):
        source.splits(task("a", column="set"))


def test_what_a_script_made_is_read_from_the_hubs_own_parquet(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[tuple[object, ...]] = []

    def load(*names: str, **places: str) -> dict[str, object]:
        asked.append((*names, *places.items()))
        if not places:
            raise RuntimeError("Dataset scripts are no longer supported, but found set.py")
        return {"train": None}

    monkeypatch.setattr(datasets, "load_dataset", load)
    hub._load_splits.cache_clear()
    assert open_source("hub").splits(RTE) == ("train",)
    assert asked == [
        ("nyu-mll/glue", "rte"),
        ("nyu-mll/glue", ("data_dir", "rte"), ("revision", "refs/convert/parquet")),
    ]
    hub._load_splits.cache_clear()


def test_a_tasks_own_files_are_read_whatever_the_source_is(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("sentence1,sentence2,label\n" + "a,b,1\n" * 10)
    (tmp_path / "dev.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "label": 0}\n')
    files = (("train", str(tmp_path / "train.csv")), ("validation", str(tmp_path / "dev.jsonl")))
    own = replace(RTE, name="own", dataset="files", config="own", files=files)
    for spec in ("embedded", str(folder(tmp_path / "folder"))):
        source = open_source(spec)
        assert source.splits(own) == ("train", "validation")
        assert read(source, own, "train").num_rows == 10
        assert read(source, own, "validation").to_pylist() == [
            {"sentence1": "a", "sentence2": "b", "label": 0}
        ]
    assert source.splits(RTE) == ("train", "validation")
    before = source.fingerprint(own)
    (tmp_path / "train.csv").write_text("sentence1,sentence2,label\n" + "a,b,0\n" * 10)
    assert source.fingerprint(own) != before
    (tmp_path / "dev.jsonl").unlink()
    with pytest.raises(ValueError, match=r"dev\.jsonl cannot be read \(No such file or directory\): check"):
        source.fingerprint(own)


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def refuse(*_: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    hub._load_splits.cache_clear()
    with pytest.raises(
        ValueError, match=r"nyu-mll/glue \(rte\) could not be loaded .*give a folder"
    ) as caught:
        open_source("hub").splits(RTE)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="set the data source to 'embedded'"):
        open_source("hub").splits(embedded.TASKS[0])
