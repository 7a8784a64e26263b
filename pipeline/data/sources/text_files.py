"""Text files of a task as blocks: CSV, TSV, JSONL and CoNLL, by suffix.

CSV and TSV start with a line of column names; all values are text. A CSV value may be in quotation marks; in TSV
they are ordinary characters, as in the files of GLUE. A JSONL line is an object. A CoNLL line is a word with its
tag in the last column, a blank line ends a sentence, and the columns are `tokens` and `tags`.

A file is scanned once for the byte offsets of its blocks; a block then reads its own bytes. Both use the same
functions to find records, so that they agree on the number of rows. The readers of pyarrow cannot start inside a
file or report line numbers, and its JSON reader turns text into timestamps.
"""

import contextlib
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, BinaryIO

import pyarrow as pa

from pipeline.data.sources.base import BLOCK_ROWS, Block
from pipeline.data.sources.parquet_files import open_parquet, parquet_blocks
from pipeline.errors import first_line

csv.field_size_limit(2**31 - 1)  # a passage can be longer than the default of 131,072 characters
NumberedRecord = tuple[int, Any]  # (number of its last line in the file, record)
SENTENCES = pa.schema([(name, pa.list_(pa.string())) for name in ("tokens", "tags")])


@dataclass
class LineReader:
    """Iterates over lines of an open file and keeps the position."""

    file: BinaryIO  # at `position`
    end: int  # byte offset to stop at
    position: int  # byte offset after the last line read
    number: int  # of the last line read, from 1
    errors: str = "strict"  # how to decode what is not UTF-8; `surrogateescape` suffices to find records

    def __iter__(self) -> Iterator[str]:
        while self.position < self.end and (line := self.file.readline()):
            encoding = "utf-8" if self.position else "utf-8-sig"  # a byte order mark may begin the file
            self.position += len(line)
            self.number += 1
            yield line.decode(encoding, self.errors)


def file_blocks(path: str) -> list[Block]:
    """Returns blocks of all rows in order, of a text file or a Parquet file; none for a file without rows.

    Raises:
        ValueError: The file cannot be read or does not match its suffix.
    """
    if (suffix := suffix_of(path)) == ".parquet":
        return parquet_blocks(path)
    header = tuple(column_names(path)) if suffix in HEADERS else ()
    blocks: list[Block] = []
    first_row = 0
    with _open_lines(path) as lines:
        lines.errors = "surrogateescape"
        records = _numbered_records(suffix, lines)
        if header:
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
        line, first = next(_numbered_records(suffix, lines), (0, None))
        if first is None:
            raise ValueError("is empty: add rows")
        names = list(_parse_object(line, first)) if suffix == ".jsonl" else list(first)
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has two columns named {name!r}: rename one")
        return names


def suffix_of(path: str) -> str:
    """Returns a file's suffix, which selects its format; raises ValueError for an unknown one."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix != ".parquet" and suffix not in FORMATS:
        known = ", ".join((".parquet", *FORMATS))
        raise ValueError(f"{path} ends in {suffix!r}: give a file that ends in {known}")
    return suffix


def _read(path: str, start: int, end: int, line: int, header: tuple[str, ...]) -> pa.Table:
    """Reads the rows between two byte offsets; `line` is the number of the line before them."""
    suffix = suffix_of(path)
    make_table = FORMATS[suffix][1]
    with _open_lines(path, start, end, line) as lines:
        return make_table(list(_numbered_records(suffix, lines)), header)


@contextlib.contextmanager
def _open_lines(path: str, start: int = 0, end: int = sys.maxsize, line: int = 0) -> Iterator[LineReader]:
    """Opens a file; errors of opening and reading become a ValueError that names it."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            yield LineReader(file, end, start, line)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _numbered_records(suffix: str, lines: LineReader) -> Iterator[NumberedRecord]:
    """Yields records with their line numbers; raises ValueError with the line number of a malformed one."""
    find_records, _ = FORMATS[suffix]
    try:
        for record in find_records(lines):
            yield lines.number, record
    except UnicodeDecodeError:
        raise ValueError(f"line {lines.number} is not UTF-8: save the file in that encoding") from None
    except csv.Error as error:
        raise ValueError(f"line {lines.number} is not CSV ({error}): check quotes and line ends") from None


def _csv_records(lines: LineReader) -> Iterable[list[str]]:
    return filter(None, csv.reader(lines, strict=True))


def _tsv_records(lines: LineReader) -> Iterable[list[str]]:
    # The csv module would refuse a carriage return inside a value.
    return (text.split("\t") for line in lines if (text := line.rstrip("\r\n")))


def _jsonl_records(lines: LineReader) -> Iterable[str]:
    return filter(None, map(str.strip, lines))


def _conll_records(lines: LineReader) -> Iterator[dict[str, list[str]]]:
    words: list[str] = []
    tags: list[str] = []
    for line in chain(lines, [""]):
        text = line.rstrip("\r\n")
        fields = text.split("\t") if "\t" in text else text.split()
        if text.strip() and fields[0] != "-DOCSTART-":
            if len(fields) < 2:
                remedy = "give both, and a blank line between sentences"
                raise ValueError(f"line {lines.number} has a word without a tag: {remedy}")
            words.append(fields[0])
            tags.append(fields[-1])
        elif words:
            yield {"tokens": words, "tags": tags}
            words, tags = [], []


def _text_table(records: Sequence[NumberedRecord], header: Sequence[str]) -> pa.Table:
    for line, record in records:
        if len(record) != len(header):
            raise ValueError(
                f"line {line} has {len(record)} values for the {len(header)} columns of the first line: "
                "add the missing values, or put a value that contains a separator in quotation marks"
            )
    rows = [dict(zip(header, record, strict=True)) for _, record in records]
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in header]))


def _object_table(records: Sequence[NumberedRecord], _: Sequence[str]) -> pa.Table:
    rows = [_parse_object(line, text) for line, text in records]
    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        try:
            columns[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, TypeError, UnicodeError, OverflowError) as error:
            raise ValueError(
                f"lines {records[0][0]} to {records[-1][0]}: {name!r} cannot be a column ({first_line(error)}): "
                "give values of one type"
            ) from None
    return pa.table(columns)


def _parse_object(line: int, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"line {line} is not JSON ({error}): give an object a line") from None
    if not isinstance(value, dict):
        raise ValueError(f"line {line} holds {text[:40]!r}: give an object a line")
    return value


def _sentence_table(records: Sequence[NumberedRecord], _: Sequence[str]) -> pa.Table:
    return pa.Table.from_pylist([record for _, record in records], SENTENCES)


FindRecords = Callable[[LineReader], Iterable[Any]]  # skips blank lines
MakeTable = Callable[[Sequence[NumberedRecord], Sequence[str]], pa.Table]  # from records and column names
FORMATS: dict[str, tuple[FindRecords, MakeTable]] = {
    ".csv": (_csv_records, _text_table),
    ".tsv": (_tsv_records, _text_table),
    ".jsonl": (_jsonl_records, _object_table),
    ".conll": (_conll_records, _sentence_table),
}
HEADERS = (".csv", ".tsv")  # formats whose first record holds the column names
