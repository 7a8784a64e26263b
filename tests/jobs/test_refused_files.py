"""Damaged or wrong files: refused in one line with exit code 2, without a run directory or an MLflow run.

`SOURCES`, `BACKBONES` and `TASK_FILES` are refused before Ray starts, faulty rows when they are read.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.cli import parse_settings
from pipeline.data.preparation.prepared import load_prepared, read_table
from pipeline.data.sources.text_files import file_blocks
from pipeline.data.task_files import load_task_files
from pipeline.experiments.assembly import prepare_data, select_tasks
from tests.jobs.refusal import ResourcesTakenError, refusal, refusal_line

GENERATED = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
ROWS = 30


def write_source(folder: Path) -> Path:
    """Writes CoLA in the Hub's layout with a few rows; returns the folder of its files."""
    cola = folder / "data" / "nyu-mll" / "glue" / "cola"
    cola.mkdir(parents=True)
    for split in ("train", "validation"):
        rows = {"sentence": ["the cat sat"] * ROWS, "label": [0, 1] * (ROWS // 2), "idx": list(range(ROWS))}
        pq.write_table(pa.table(rows), cola / f"{split}.parquet")
    return cola


def arguments(backbone: str) -> list[str]:
    return [
        "--model.backbone",
        backbone,
        "--data.max_seq_length",
        "32",
        "--data.source=data",
        "--data.tasks=[cola]",
    ]


SOURCES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda cola: cut(cola / "train.parquet", 9), "/cola/train.parquet cannot be read as Parquet"),
    "cut to the first bytes": (lambda cola: cut(cola / "train.parquet", -4), "/cola/train.parquet cannot be read"),
    "empty": (lambda cola: (cola / "validation.parquet").write_bytes(b""), "/validation.parquet cannot be read"),
    "text": (lambda cola: (cola / "train.parquet").write_text("a,b\n1,2\n"), "/train.parquet cannot be read"),
    "magic bytes alone": (lambda cola: (cola / "train.parquet").write_bytes(b"PAR1PAR1"), "/train.parquet cannot be"),
    "zeros": (lambda cola: (cola / "train.parquet").write_bytes(bytes(99)), "/train.parquet cannot be read"),
    "a folder": (lambda cola: swap(cola / "train.parquet", Path.mkdir), "/train.parquet cannot be read"),
    "a link to nothing": (lambda cola: swap(cola / "train.parquet", Path.symlink_to, "no"), "train.parquet cannot"),
    "no training split": (lambda cola: (cola / "train.parquet").unlink(), "/cola has no split 'train'"),
    "no validation": (lambda cola: (cola / "validation.parquet").unlink(), "/cola has no split 'validation'"),
    "no files": (lambda cola: shutil.rmtree(cola), "task 'cola': no Parquet file in "),
    "other format": (lambda cola: [f.rename(f.with_suffix(".csv")) for f in cola.iterdir()], "no Parquet file in "),
    "misnamed": (lambda cola: cola.rename(cola.with_name("COLA")), "task 'cola': no Parquet file in "),
    "a file in place of the folder": (lambda cola: swap(cola, Path.touch), "no Parquet file in "),
    "no source": (lambda cola: shutil.rmtree(cola.parents[2]), "data source '"),
}  # fmt: skip


def cut(file: Path, size: int) -> None:
    """Drops the last `size` bytes, or keeps the first `-size`."""
    file.write_bytes(file.read_bytes()[:-size])


def swap(path: Path, make: Callable[..., object], *arguments: str) -> None:
    """Makes something else of this path."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path, *arguments)


def remove(files: Iterable[Path]) -> None:
    for file in list(files):
        file.unlink()


@pytest.mark.parametrize("fault", SOURCES)
def test_a_damaged_source_is_refused_before_ray_starts(
    empty_folder: Path, tiny_backbone: str, fault: str
) -> None:
    damage, expected = SOURCES[fault]
    damage(write_source(empty_folder))
    assert expected in refusal(empty_folder, *arguments(tiny_backbone))


def test_an_intact_source_gets_as_far_as_ray(empty_folder: Path, tiny_backbone: str) -> None:
    write_source(empty_folder)
    with pytest.raises(ResourcesTakenError):
        refusal_line(*arguments(tiny_backbone))


BACKBONES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "backbone '"),
    "config cut": (lambda folder: cut(folder / "config.json", 9), "is not a valid JSON file"),
    "config a list": (lambda folder: (folder / "config.json").write_text("[]"), "cannot be loaded"),
    "no family": (lambda folder: (folder / "config.json").write_text("{}"), "cannot be loaded"),
    "wrong type": (lambda folder: change(folder / "config.json", hidden_size="x"), "'hidden_size' expected int"),
    "odd heads": (lambda folder: change(folder / "config.json", num_attention_heads=5), "not a multiple of the number"),
    "no layers": (lambda folder: change(folder / "config.json", num_hidden_layers=-1), "no model can be built on"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "has no weights: there is no "),
    "weights cut": (lambda folder: cut(folder / "model.safetensors", 9), "/model.safetensors cannot be read"),
    "weights of text": (lambda folder: (folder / "model.safetensors").write_text("x"), "/model.safetensors cannot be"),
    "no tokenizer": (lambda folder: remove(folder.glob("token*")), "tokenizer '"),
    "tokenizer cut": (lambda folder: cut(folder / "tokenizer.json", 9), "tokenizer '"),
}  # fmt: skip


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize("fault", BACKBONES)
def test_a_damaged_backbone_is_refused_before_ray_starts(
    empty_folder: Path, tiny_backbone: str, fault: str
) -> None:
    damage, expected = BACKBONES[fault]
    copy = Path(shutil.copytree(tiny_backbone, empty_folder / "backbone"))
    damage(copy)
    assert expected in refusal(empty_folder, "--model.backbone", str(copy), "--data.max_seq_length", "32")


TASK = "mine:\n  files: {train: rows.csv, validation: rows.csv}\n  text_columns: [body]\n  label_names: [no, yes]\n"
TASK_FILES = {  # the fields of a task have their table in tests/pipeline/data/test_task_files.py
    "? [a]\n: {}\n": ":1: not valid YAML: a key is a list or a mapping",
    "[[" * 2000: ": not valid YAML",
    "mine: &a {files: *a}\n": ":1: not valid YAML: found unconstructable recursive node",
    TASK.replace("mine", "sentiment"): ":1: task 'sentiment' already exists",
}


@pytest.mark.parametrize("text", TASK_FILES, ids=lambda text: repr(text)[-40:-1])
def test_a_malformed_task_file_is_refused_with_its_line(empty_folder: Path, text: str) -> None:
    (empty_folder / "rows.csv").write_text("body,label\na cat,no\n")
    (empty_folder / "tasks.yaml").write_text(text)
    line = refusal(empty_folder, "--data.task_files", "[tasks.yaml]")
    assert line.startswith(f"{empty_folder}/tasks.yaml{TASK_FILES[text]}")


@pytest.mark.parametrize("rotten", [False, True], ids=["a label out of range", "rot in prepared rows"])
def test_faulty_rows_leave_neither_run_directory_nor_mlflow_run(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_backbone: str, rotten: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    cola = write_source(tmp_path)
    if rotten:
        parsed = parse_settings(arguments(tiny_backbone), "", "")
        prepared = prepare_data(parsed, select_tasks(parsed))["cola"]
        flip(Path(prepared.train.files[0]), 300)
    else:
        rows = {"sentence": ["a"] * ROWS, "label": [0] * (ROWS - 1) + [7]}
        pq.write_table(pa.table(rows), cola / "train.parquet")
    line = refusal_line(*arguments(tiny_backbone), "--cluster.num_workers", "0")
    expected = "/part-00000.parquet is corrupt or cut short: delete " if rotten else "row 29 has label 7"
    assert expected in line
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "mlruns").exists()
    assert not (tmp_path / "mlflow.db").exists() or not (tmp_path / "mlflow.db").stat().st_size


def flip(file: Path, offset: int) -> None:
    """Inverts the bits of one byte."""
    content = bytearray(file.read_bytes())
    content[offset % len(content)] ^= 0xFF
    file.write_bytes(bytes(content))


@GENERATED
@given(offset=st.integers(0), cut_off=st.booleans())
def test_a_parquet_file_damaged_anywhere_is_read_or_refused(
    empty_folder: Path, offset: int, cut_off: bool
) -> None:
    file = empty_folder / "rows.parquet"
    pq.write_table(pa.table({"body": ["a cat", "a dog"] * 20, "label": [0, 1] * 20}), file)
    if cut_off:
        cut(file, 1 + offset % (file.stat().st_size - 1))
    else:
        flip(file, offset)
    refused_in_one_line(lambda: [block.read() for block in file_blocks(str(file))], str(file))


@GENERATED
@given(
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".conll"]),
    content=st.binary(max_size=60) | st.text('a1",\t\n\r{}[]: \ufeff', max_size=30).map(str.encode),
)
def test_any_text_file_is_read_or_refused(empty_folder: Path, suffix: str, content: bytes) -> None:
    file = empty_folder / f"rows{suffix}"
    file.write_bytes(content)
    refused_in_one_line(lambda: [block.read() for block in file_blocks(str(file))], str(file))


@GENERATED
@given(
    content=st.binary(max_size=60)
    | st.lists(st.sampled_from([*TASK.split(" "), "kind: ", "span", "{", "}", "[", "&a ", "*a", "\n  "]), max_size=14)
    .map(lambda parts: f"mine:\n  {' '.join(parts)}".encode())
)  # fmt: skip
def test_any_task_file_is_accepted_or_refused(empty_folder: Path, content: bytes) -> None:
    file = empty_folder / "tasks.yaml"
    file.write_bytes(content)
    refused_in_one_line(lambda: load_task_files([str(file)]), str(file))


@GENERATED
@given(
    content=st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["schema_version", "task", "splits", "files", "train"]), inner)
        ),
        max_leaves=8,
    )
)
def test_any_manifest_is_accepted_or_refused(empty_folder: Path, content: Any) -> None:
    (empty_folder / "manifest.json").write_text(json.dumps(content))
    refused_in_one_line(lambda: read_table(load_prepared(empty_folder).train), str(empty_folder))


def refused_in_one_line(read: Callable[[], object], path: str) -> None:
    message = path
    try:
        read()
    except ValueError as error:
        message = str(error)
    assert path in message
    assert "\n" not in message
