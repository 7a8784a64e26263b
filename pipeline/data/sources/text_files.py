"""Files of one's own in blocks: Parquet, CSV, TSV, JSONL and CoNLL, by suffix.

A text file is read through once to find where each block begins; a block then reads its own bytes. Both go by
the same reader of records, so that what was counted is what is read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from pipeline.data.sources.parquet_files import READ_BLOCK_ROWS, ParquetRows, spans, whole_parquet
from pipeline.data.sources.records import FORMATS, Lines, json_object, numbered

SUFFIXES = (".parquet", *FORMATS)


@dataclass(frozen=True)
class FileRows:
    """Consecutive rows of a text file.

    Attributes:
        path: Its suffix tells the format.
        first_row, rows: Which rows of the file.
        start, end: Their bytes.
        lines_before: Lines of the file before them.
        header: Column names, where the file begins with them.
    """

    path: str
    first_row: int
    rows: int
    start: int
    end: int
    lines_before: int
    header: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        return self.path

    def read(self) -> pa.Table:
        """The rows as a table.

        Raises:
            ValueError: The file cannot be read, or is not what its suffix says.
        """
        form = FORMATS[suffix_of(self.path)]
        with _lines(self.path, "utf-8") as lines:
            lines.file.seek(self.start)
            lines.position, lines.end, lines.number = self.start, self.end, self.lines_before
            return form.table(list(numbered(lines, form)), self.header)


def file_blocks(path: str) -> list[FileRows] | list[ParquetRows]:
    """The rows of a file in order, in blocks; none for a file without rows.

    Raises:
        ValueError: The file cannot be read, or is not what its suffix says.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        with whole_parquet(path) as parquet:
            groups = [parquet.metadata.row_group(index).num_rows for index in range(parquet.num_row_groups)]
        return [ParquetRows(path, first, rows) for first, rows in spans(groups)]
    form = FORMATS[suffix]
    header = tuple(column_names(path)) if form.header else ()
    blocks: list[FileRows] = []
    first_row = 0
    with _lines(path, "latin-1") as lines:
        records = numbered(lines, form)
        if form.header:
            next(records)
        while True:
            start, lines_before = lines.position, lines.number
            rows = sum(1 for _ in islice(records, READ_BLOCK_ROWS))
            if not rows:
                return blocks
            blocks.append(FileRows(path, first_row, rows, start, lines.position, lines_before, header))
            first_row += rows


def column_names(path: str) -> list[str]:
    """Names of a file's columns; of a JSONL file, those of its first object.

    Raises:
        ValueError: The file cannot be read, has no rows, or is not what its suffix says.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        with whole_parquet(path) as parquet:
            return list(parquet.schema_arrow.names)
    if suffix == ".conll":
        return ["tokens", "tags"]
    with _lines(path, "utf-8") as lines:
        line, first = next(numbered(lines, FORMATS[suffix]), (0, None))
        if first is None:
            raise ValueError("is empty: add rows")
        names = list(json_object(line, first)) if suffix == ".jsonl" else list(first)
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has two columns named {name!r}: rename one")
        return names


def suffix_of(path: str) -> str:
    """The suffix that tells a file's format.

    Raises:
        ValueError: There is no reader for it.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} ends in {suffix!r}: give a file that ends in {', '.join(SUFFIXES)}")
    return suffix


@contextlib.contextmanager
def _lines(path: str, encoding: str) -> Iterator[Lines]:
    """Opens a file; whatever goes wrong with it becomes a ValueError that names it."""
    try:
        with open(path, "rb") as file:
            yield Lines(file, encoding, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
