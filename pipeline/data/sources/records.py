"""Formats of text files, as records and as tables: CSV, TSV, JSONL and CoNLL.

CSV and TSV start with a line of column names; all values are text. A CSV value may be in quotation marks; in TSV
they are ordinary characters, as in the files of GLUE. A JSONL line is an object. A CoNLL line is a word with its
tag in the last column, a blank line ends a sentence, and the columns are `tokens` and `tags`.

The readers of pyarrow do not fit: they neither report a line number nor start inside a file, its JSON reader turns
text into timestamps, and its CSV reader would not count rows as the csv module does.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from pipeline.errors import first_line

csv.field_size_limit(2**31 - 1)  # a passage can be longer than the default of 131,072 characters
NumberedRecord = tuple[int, Any]  # (number of its last line in the file, record)
SENTENCES = pa.schema([(name, pa.list_(pa.string())) for name in ("tokens", "tags")])


@dataclass
class LineReader:
    """Iterates over lines of an open file and keeps the position.

    Attributes:
        file: Opened in binary mode, at `position`.
        end: Byte offset to stop at.
        position: Byte offset after the last line read.
        number: Number of the last line read, from 1.
        errors: How to decode what is not UTF-8: `strict` raises, `surrogateescape` suffices to find records.
    """

    file: BinaryIO
    end: int
    position: int = 0
    number: int = 0
    errors: str = "strict"

    def __iter__(self) -> Iterator[str]:
        while self.position < self.end and (line := self.file.readline()):
            encoding = "utf-8" if self.position else "utf-8-sig"  # a byte order mark may begin the file
            self.position += len(line)
            self.number += 1
            yield line.decode(encoding, self.errors)


@dataclass(frozen=True)
class FileFormat:
    """A text format.

    Attributes:
        records: Splits lines into records; skips blank ones.
        table: Converts records and the column names of the header (if any) to a table.
        header: Whether the first record holds the column names.
    """

    records: Callable[[LineReader], Iterable[Any]]
    table: Callable[[Sequence[NumberedRecord], Sequence[str]], pa.Table]
    header: bool = False


def number_records(lines: LineReader, form: FileFormat) -> Iterator[NumberedRecord]:
    """Yields records with their line numbers; raises ValueError with the line number of a malformed one."""
    try:
        for record in form.records(lines):
            yield lines.number, record
    except UnicodeDecodeError:
        raise ValueError(f"line {lines.number} is not UTF-8: save the file in that encoding") from None
    except csv.Error as error:
        problem = f"is not CSV ({error}): check quotation marks and line ends"
        raise ValueError(f"line {lines.number} {problem}") from None


def parse_object(line: int, text: str) -> dict[str, Any]:
    """Returns the JSON object of a line; raises ValueError for anything else."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"line {line} is not JSON ({error}): give an object a line") from None
    if not isinstance(value, dict):
        raise ValueError(f"line {line} holds {text[:40]!r}: give an object a line")
    return value


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
    for line in lines:
        text = line.rstrip("\r\n")
        fields = text.split("\t") if "\t" in text else text.split()
        if text.strip() and fields[0] != "-DOCSTART-":
            if len(fields) < 2:
                raise ValueError(
                    f"line {lines.number} has a word without a tag: "
                    "give both, and a blank line between sentences"
                )
            words.append(fields[0])
            tags.append(fields[-1])
        elif words:
            yield {"tokens": words, "tags": tags}
            words, tags = [], []
    if words:
        yield {"tokens": words, "tags": tags}


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
    rows = [parse_object(line, text) for line, text in records]
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


def _sentence_table(records: Sequence[NumberedRecord], _: Sequence[str]) -> pa.Table:
    return pa.Table.from_pylist([record for _, record in records], SENTENCES)


FORMATS: dict[str, FileFormat] = {
    ".csv": FileFormat(_csv_records, _text_table, header=True),
    ".tsv": FileFormat(_tsv_records, _text_table, header=True),
    ".jsonl": FileFormat(_jsonl_records, _object_table),
    ".conll": FileFormat(_conll_records, _sentence_table),
}
