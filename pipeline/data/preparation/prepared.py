"""Prepared data as those who use it see it: a folder per task, its splits, their token rows.

This file and what it imports stay free of torch: tasks that fetch rows start without it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.preparation.schema import SCHEMA, SCHEMA_VERSION
from pipeline.data.tokenization import tokenizer_fingerprint, tokenizer_json
from pipeline.errors import first_line

MANIFEST = "manifest.json"
LABEL_ROWS = 1_000_000  # of a larger split, the labels of so many tell what the labels are


@dataclass(frozen=True)
class PreparedSplit:
    """A split's rows, in their shuffled order, over its absolute `files`.

    Attributes:
        task, split: Names.
        rows: In all files.
        tokens: In all rows.
        file_rows: Rows of each file.
    """

    task: str
    split: str
    rows: int
    tokens: int
    files: tuple[str, ...]
    file_rows: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """What the rows take in memory, marks and references left out.

        A token has an id and a type; a row an id, a label, an encoding's length and five offsets.
        """
        return 5 * self.tokens + 36 * self.rows


@dataclass(frozen=True)
class PreparedTask:
    """A task's folder of prepared data, and what its manifest says."""

    name: str
    directory: str
    train: PreparedSplit
    evals: tuple[PreparedSplit, ...]
    manifest: dict[str, Any]


def load_prepared(directory: str | Path) -> PreparedTask:
    """Opens a task's folder of prepared data.

    Raises:
        ValueError: The folder is not whole: no manifest, one of another version, or a part file that is
            missing, cut short or of another row count.
    """
    folder = Path(directory).absolute()
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {manifest['schema_version']}, not {SCHEMA_VERSION}")
        splits = []
        for name, split in manifest["splits"].items():
            files = {str(folder / name / file): part["rows"] for file, part in split["files"].items()}
            for file, rows in files.items():
                found = pq.read_metadata(file).num_rows
                if found != rows:
                    raise ValueError(f"{file} has {found} rows, not {rows}")
            splits.append(
                PreparedSplit(
                    manifest["task"],
                    name,
                    split["rows"],
                    split["tokens"],
                    tuple(files),
                    tuple(files.values()),
                )
            )
        train, *evals = splits
        return PreparedTask(manifest["task"], str(folder), train, tuple(evals), manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ValueError(
            f"prepared data {folder} is not whole ({first_line(error)}): delete it to prepare again"
        ) from error


def read_table(split: PreparedSplit) -> pa.Table:
    """All rows of a split in their order: `pipeline.data.preparation.schema.SCHEMA`.

    Raises:
        ValueError: A file is corrupt (its pages carry checksums), cut short or missing.
    """
    return _read(split.files)


def read_labels(split: PreparedSplit) -> pa.Table:
    """The column `label`, of the first million rows at least: they are shuffled.

    Raises:
        ValueError: As `read_table` does.
    """
    before = [end - rows for end, rows in zip(accumulate(split.file_rows), split.file_rows, strict=True)]
    return _read(
        [file for file, rows in zip(split.files, before, strict=True) if rows < LABEL_ROWS], ["label"]
    )


def _read(files: Sequence[str], columns: list[str] | None = None) -> pa.Table:
    tables = []
    for file in files:
        with whole(file):
            tables.append(
                pq.read_table(
                    file, columns=columns, schema=SCHEMA, partitioning=None, page_checksum_verification=True
                )
            )
    table: pa.Table = pa.concat_tables(tables)
    return table


@contextlib.contextmanager
def whole(file: str) -> Iterator[None]:
    """Whatever goes wrong with reading a prepared file becomes a ValueError that names it and the mend."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(
            f"prepared file {file} is not there: set data.prepared_dir to a folder that all nodes share"
        ) from error
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise ValueError(
            f"prepared file {file} is corrupt or cut short: "
            f"delete {Path(file).parents[1]} to prepare it again"
        ) from error


def check_tokenizer(prepared: PreparedTask, tokenizer: str) -> None:
    """Raises ValueError, naming both, where prepared data was made with another tokenizer than this."""
    made_with = prepared.manifest["tokenizer"]
    if tokenizer_fingerprint(tokenizer_json(tokenizer)) != made_with["fingerprint"]:
        raise ValueError(
            f"prepared data {prepared.directory} was made with tokenizer {made_with['name']!r}, "
            f"which differs from {tokenizer!r}: prepare the data again with that one"
        )
