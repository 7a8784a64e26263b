"""Prepared data on disk: a folder per task, its splits, their token rows, and reports on them.

This module imports no torch, even indirectly: Ray tasks that fetch rows start without it.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.preparation.schema import SCHEMA_VERSION
from pipeline.errors import first_line

MANIFEST = "manifest.json"
LABEL_ROWS = 1_000_000  # of a larger split, so many shuffled labels suffice for their distribution


@dataclass(frozen=True)
class PreparedSplit:
    """A split's rows, in their shuffled order, in files of absolute paths with `file_rows` rows each."""

    task: str
    split: str
    rows: int
    tokens: int
    files: tuple[str, ...]
    file_rows: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of the rows in memory, without marks and references.

        A token has an id and a type; a row an id, a label, an encoding's length and five offsets.
        """
        return 5 * self.tokens + 36 * self.rows


@dataclass(frozen=True)
class PreparedTask:
    """A task's folder of prepared data with its manifest."""

    name: str
    directory: str
    train: PreparedSplit
    evals: tuple[PreparedSplit, ...]
    manifest: dict[str, Any]


def load_prepared(directory: str | Path) -> PreparedTask:
    """Opens a task's folder of prepared data.

    Raises:
        ValueError: The folder is incomplete: no manifest, one of another version, or a part file that is
            missing, cut short or of another row count.
    """
    folder = Path(directory).absolute()
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        task = manifest["task"]
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {manifest['schema_version']}, not {SCHEMA_VERSION}")
        splits = []
        for name, split in manifest["splits"].items():
            files = {str(folder / name / file): part["rows"] for file, part in split["files"].items()}
            for file, rows in files.items():
                if (actual := pq.read_metadata(file).num_rows) != rows:
                    raise ValueError(f"{file} has {actual} rows, not {rows}")
            file_rows = tuple(files.values())
            splits.append(PreparedSplit(task, name, split["rows"], split["tokens"], tuple(files), file_rows))
        train, *evals = splits
        return PreparedTask(task, str(folder), train, tuple(evals), manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ValueError(
            f"prepared data {folder} is incomplete ({first_line(error)}): delete it to prepare again"
        ) from error


def read_table(split: PreparedSplit) -> pa.Table:
    """Reads all rows of a split in their order, as `pipeline.data.preparation.schema.SCHEMA`.

    Raises:
        ValueError: A file is corrupt (its pages carry checksums), cut short or missing.
    """
    return _read(split.files)


def read_label_column(split: PreparedSplit) -> pa.Table:
    """Reads the column `label` of all rows, or of the first files with `LABEL_ROWS` rows.

    Raises:
        ValueError: As in `read_table`.
    """
    starts = accumulate(split.file_rows[:-1], initial=0)
    files = [file for file, start in zip(split.files, starts, strict=True) if start < LABEL_ROWS]
    return _read(files, ["label"])


def _read(files: Sequence[str], columns: list[str] | None = None) -> pa.Table:
    tables = []
    for path in files:
        with open_prepared(path) as file:
            tables.append(file.read(columns))
    return pa.concat_tables(tables)


@contextlib.contextmanager
def open_prepared(path: str) -> Iterator[pq.ParquetFile]:
    """Opens a prepared file with checks of its checksums; errors become a ValueError that names it."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError as error:
        raise ValueError(
            f"prepared file {path} does not exist: set data.prepared_dir to a folder that all nodes share"
        ) from error
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise ValueError(
            f"prepared file {path} is corrupt or cut short: "
            f"delete {Path(path).parents[1]} to prepare it again"
        ) from error


def report_lines(prepared: Mapping[str, PreparedTask]) -> list[str]:
    """Returns a line for every split that has remarks."""
    return [
        f"  {task}, {name}: {text} (of {split['source_rows']:,} rows)"
        for task, data in prepared.items()
        for name, split in data.manifest["splits"].items()
        if (text := remarks(split))
    ]


def remarks(split: Mapping[str, Any]) -> str:
    """Lists what a split's manifest has of rows left out, odd, cut or with repeated ids; may be empty."""
    left_out, repeated = split["source_rows"] - split["rows"], split["duplicate_ids"]
    parts = [
        f"{left_out:,} left out" if left_out else "",
        describe(split["report"]),
        f"{split['truncated']:,} cut short" if split["truncated"] else "",
        f"{repeated:,} with the id of an earlier row" if repeated else "",
    ]
    return "; ".join(filter(None, parts))


def describe(report: Mapping[str, int]) -> str:
    """Returns counts by status as text, such as "3 answer not found, 1 unlabelled"."""
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in report.items())
