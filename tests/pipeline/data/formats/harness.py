"""Encodes rows that a test gives as columns, and reads the result back as text."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import pyarrow as pa
from tokenizers import Tokenizer

from pipeline.data.formats import COLUMNS, Columns, EncodedRows, Origin, Status, encode_rows


class Encoding(NamedTuple):
    """The tokens of one encoding, with their types and marks (empty for kinds without marks)."""

    tokens: list[str]
    types: list[int]
    marks: list[int]

    @property
    def text(self) -> str:
        return " ".join(self.tokens)


@dataclass(frozen=True)
class Result:
    """Encoded rows, readable."""

    rows: EncodedRows
    tokenizer: Tokenizer

    @property
    def statuses(self) -> list[Status]:
        return [Status(number) for number in self.rows.status]

    @property
    def labels(self) -> list[float]:
        return self.rows.table["label"].to_pylist()

    def reference(self, row: int = 0) -> dict[str, Any]:
        return json.loads(self.rows.table["reference"][row].as_py())

    def encodings(self, row: int = 0) -> list[Encoding]:
        """The encodings of one row."""
        [columns] = self.rows.table.slice(row, 1).to_pylist()
        tokens = [str(self.tokenizer.id_to_token(number)) for number in columns["input_ids"]]
        types, marks = columns["token_type_ids"], columns["token_marks"]
        edges = pairwise(accumulate(columns["encoding_lengths"], initial=0))
        return [Encoding(tokens[begin:end], types[begin:end], marks[begin:end]) for begin, end in edges]


Encode = Callable[..., Result]


def encode_columns(
    columns: Columns,
    rows: Mapping[str, Any],
    *,
    tokenizer: Tokenizer,
    length: int = 64,
    training: bool = True,
) -> Result:
    """Encodes rows 100 and up of `rows.parquet`, task `toy`, and checks what holds for every format."""
    table = pa.table(dict(rows))
    origin = Origin("toy", "rows.parquet", range(100, 100 + table.num_rows))
    encoded = encode_rows(table, columns, tokenizer, length, for_training=training, origin=origin)
    assert encoded.table.schema.equals(COLUMNS)
    assert encoded.table.num_rows == len(encoded.status) == len(encoded.truncated) == table.num_rows
    for row in encoded.table.to_pylist():
        assert sum(row["encoding_lengths"]) == len(row["input_ids"]) == len(row["token_type_ids"])
        assert len(row["token_marks"]) in (0, len(row["input_ids"]))
        assert 0 < max(row["encoding_lengths"]) <= length
        assert training is False or row["reference"] is None
    return Result(encoded, tokenizer)


def one_row(**values: Any) -> dict[str, list[Any]]:
    """Columns of a single row."""
    return {name: [value] for name, value in values.items()}
