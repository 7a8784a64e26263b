"""Blocks of a task's own files: Parquet, CSV, TSV, JSONL and CoNLL, by suffix.

A text file is scanned once for the byte offsets of its blocks; a block then reads its own bytes. Both use the same
record reader, so that they agree on the number of rows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice

import pyarrow as pa

from pipeline.data.sources.base import BLOCK_ROWS, Block
from pipeline.data.sources.parquet_files import open_parquet, parquet_blocks
from pipeline.data.sources.records import FORMATS, SENTENCES, LineReader, number_records, parse_object

SUFFIXES = (".parquet", *FORMATS)


def file_blocks(path: str) -> list[Block]:
    """Returns blocks of all rows in order; none for a file without rows.

    Raises:
        ValueError: The file cannot be read or does not match its suffix.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        return parquet_blocks(path)
    form = FORMATS[suffix]
    header = tuple(column_names(path)) if form.header else ()
    blocks: list[Block] = []
    first_row = 0
    with _open_lines(path) as lines:
        lines.errors = "surrogateescape"
        records = number_records(lines, form)
        if form.header:
            next(records)
        while True:
            start, line = lines.position, lines.number
            rows = sum(1 for _ in islice(records, BLOCK_ROWS))
            if not rows:
                return blocks
            read = partial(_read, path, start, lines.position, line, header)
            blocks.append(Block(first_row, rows, path, read))
            first_row += rows


def column_names(path: str) -> list[str]:
    """Returns the names of a file's columns; of a JSONL file, those of its first object.

    Raises:
        ValueError: The file cannot be read, has no rows, or does not match its suffix.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        with open_parquet(path) as parquet:
            return list(parquet.schema_arrow.names)
    if suffix == ".conll":
        return list(SENTENCES.names)
    with _open_lines(path) as lines:
        line, first = next(number_records(lines, FORMATS[suffix]), (0, None))
        if first is None:
            raise ValueError("is empty: add rows")
        names = list(parse_object(line, first)) if suffix == ".jsonl" else list(first)
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has two columns named {name!r}: rename one")
        return names


def suffix_of(path: str) -> str:
    """Returns a file's suffix, which selects its format; raises ValueError for an unknown one."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} ends in {suffix!r}: give a file that ends in {', '.join(SUFFIXES)}")
    return suffix


def _read(path: str, start: int, end: int, line: int, header: tuple[str, ...]) -> pa.Table:
    """Reads the rows between two byte offsets; `line` is the number of the line before them."""
    form = FORMATS[suffix_of(path)]
    with _open_lines(path) as lines:
        lines.file.seek(start)
        lines.position, lines.end, lines.number = start, end, line
        return form.table(list(number_records(lines, form)), header)


@contextlib.contextmanager
def _open_lines(path: str) -> Iterator[LineReader]:
    """Opens a file; errors of opening and reading become a ValueError that names it."""
    try:
        with open(path, "rb") as file:
            yield LineReader(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
