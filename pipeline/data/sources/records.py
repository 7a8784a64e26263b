"""Records of text files, and tables of them: CSV, TSV, JSONL and CoNLL.

CSV and TSV begin with a line of column names and hold nothing but text. In CSV a value may be in quotation
marks; in TSV they mean nothing, as in the files of GLUE. A JSONL file has an object a line. CoNLL has a word a
line, its tag in the last column, and a blank line after every sentence; its columns are `tokens` and `tags`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from pipeline.errors import first_line

csv.field_size_limit(2**31 - 1)  # a passage can be longer than the 131,072 characters of the default
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
Numbered = tuple[int, Any]  # (number of its last line, record)


@dataclass
class Lines:
    """Lines of an open file, with the place that has been reached.

    Attributes:
        file: Open for bytes, at `position`.
        encoding: Latin-1 takes all bytes, which is enough to find records; their text is UTF-8.
        end: Byte at which to stop.
        position: Byte after the last line given.
        number: Its number in the file, from 1.
    """

    file: BinaryIO
    encoding: str
    end: int
    position: int = 0
    number: int = 0

    def __iter__(self) -> Iterator[str]:
        while self.position < self.end and (line := self.file.readline()):
            text = line if self.position else line.removeprefix(BYTE_ORDER_MARK)
            self.position += len(line)
            self.number += 1
            try:
                yield text.decode(self.encoding)
            except UnicodeDecodeError:
                raise ValueError("is not UTF-8: save the file in that encoding") from None


@dataclass(frozen=True)
class Format:
    """How the files of a suffix are read.

    Attributes:
        records: The records of lines, blank ones passed over.
        table: Records, and the names of the columns where the file names them, to a table.
        header: Whether the first record names the columns.
    """

    records: Callable[[Lines], Iterator[Any]]
    table: Callable[[Sequence[Numbered], Sequence[str]], pa.Table]
    header: bool = False


def numbered(lines: Lines, form: Format) -> Iterator[Numbered]:
    """Records with the number of their last line, which also goes into the message of what is wrong with one."""
    try:
        for record in form.records(lines):
            yield lines.number, record
    except ValueError as error:
        raise ValueError(f"line {lines.number} {error}") from None


def _csv_records(lines: Lines) -> Iterator[list[str]]:
    try:
        for record in csv.reader(lines, strict=True):
            if record:
                yield record
    except csv.Error as error:
        raise ValueError(f"is not CSV ({error}): check quotation marks and line ends") from None


def _tsv_records(lines: Lines) -> Iterator[list[str]]:
    for line in lines:
        if text := line.rstrip("\r\n"):
            yield text.split("\t")


def _jsonl_records(lines: Lines) -> Iterator[str]:
    for line in lines:
        if text := line.strip():
            yield text


def _conll_records(lines: Lines) -> Iterator[tuple[list[str], list[str]]]:
    words: list[str] = []
    tags: list[str] = []
    for line in lines:
        text = line.rstrip("\r\n")
        fields = text.split("\t") if "\t" in text else text.split()
        if text.strip() and fields[0] != "-DOCSTART-":
            if len(fields) < 2:
                raise ValueError("has a word without a tag: give both, and a blank line between sentences")
            words.append(fields[0])
            tags.append(fields[-1])
        elif words:
            yield words, tags
            words, tags = [], []
    if words:
        yield words, tags


def _text_table(records: Sequence[Numbered], header: Sequence[str]) -> pa.Table:
    for line, record in records:
        if len(record) != len(header):
            raise ValueError(
                f"line {line} has {len(record)} values for the {len(header)} columns of the first line: "
                "add what is missing, or put what has a separator in it into quotation marks"
            )
    columns = list(zip(*(record for _, record in records), strict=True)) or [()] * len(header)
    return pa.table(
        {name: pa.array(values, pa.string()) for name, values in zip(header, columns, strict=True)}
    )


def _object_table(records: Sequence[Numbered], _: Sequence[str]) -> pa.Table:
    rows = [json_object(line, text) for line, text in records]
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


def json_object(line: int, text: str) -> dict[str, Any]:
    """The object that a line holds.

    Raises:
        ValueError: It holds something else.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"line {line} is not JSON ({error}): give an object a line") from None
    if not isinstance(found, dict):
        raise ValueError(f"line {line} holds {text[:40]!r}: give an object a line")
    return found


def _sentence_table(records: Sequence[Numbered], _: Sequence[str]) -> pa.Table:
    columns = zip(*(record for _, record in records), strict=True)
    kind = pa.list_(pa.string())
    return pa.table([pa.array(values, kind) for values in columns], names=["tokens", "tags"])


FORMATS: dict[str, Format] = {
    ".csv": Format(_csv_records, _text_table, header=True),
    ".tsv": Format(_tsv_records, _text_table, header=True),
    ".jsonl": Format(_jsonl_records, _object_table),
    ".conll": Format(_conll_records, _sentence_table),
}
