"""Shorthand of the formats' tests: a few rows given as columns, and tokens read back as text."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from pipeline.data.formats import COLUMNS, Columns, EncodedRows, Origin, Status, encode_rows

FIRST_ROW = 100


def encode(
    columns: Columns,
    rows: Mapping[str, Sequence[object] | pa.Array],
    tokenizer: Tokenizer,
    *,
    length: int = 64,
    training: bool = True,
) -> EncodedRows:
    """Encodes rows given as columns; they are numbers 100 and up of `rows.parquet`, task `toy`."""
    table = pa.table(dict(rows))
    origin = Origin("toy", "rows.parquet", range(FIRST_ROW, FIRST_ROW + table.num_rows))
    encoded = encode_rows(table, columns, tokenizer, length, for_training=training, origin=origin)
    assert encoded.table.schema.equals(COLUMNS)
    assert encoded.table.num_rows == len(encoded.status) == len(encoded.truncated) == table.num_rows
    for row in encoded.table.to_pylist():
        assert sum(row["encoding_lengths"]) == len(row["input_ids"]) == len(row["token_type_ids"])
        assert len(row["token_marks"]) in (0, len(row["input_ids"]))
        assert row["encoding_lengths"]
        assert max(row["encoding_lengths"]) <= length
        assert training is False or row["reference"] is None
    return encoded


def statuses(encoded: EncodedRows) -> list[Status]:
    """What became of each row."""
    return [Status(number) for number in encoded.status]


@dataclass(frozen=True)
class Encoding:
    """One encoding, readable: its tokens' texts, types and marks."""

    tokens: list[str]
    types: list[int]
    marks: list[int]


def encodings(encoded: EncodedRows, row: int, tokenizer: Tokenizer) -> list[Encoding]:
    """The encodings of one row."""
    columns = encoded.table.slice(row, 1).to_pylist()[0]
    ends = np.cumsum(columns["encoding_lengths"])[:-1]

    def cut(values: list[int]) -> list[list[int]]:
        return [part.astype(int).tolist() for part in np.split(np.array(values), ends)]

    marks = cut(columns["token_marks"]) if columns["token_marks"] else [[] for _ in range(len(ends) + 1)]
    return [
        Encoding([str(tokenizer.id_to_token(number)) for number in ids], types, own)
        for ids, types, own in zip(
            cut(columns["input_ids"]), cut(columns["token_type_ids"]), marks, strict=True
        )
    ]


def reference(encoded: EncodedRows, row: int) -> dict[str, Any]:
    """What the evaluation is told of one row."""
    told: dict[str, Any] = json.loads(encoded.table["reference"][row].as_py())
    return told
