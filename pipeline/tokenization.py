"""Source rows into token rows: a task's texts encoded in one batch call, its labels checked.

The tokenizer travels as the JSON text of its fast backend: reading processes need neither its files, nor
the Hub, nor the seconds that importing `transformers` takes. The text also identifies a tokenizer.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.errors import first_line

if TYPE_CHECKING:
    from pipeline.tasks.base import Task

# One row of a prepared file: an example of a task, as one encoding or several (windows of a passage, choices).
SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),  # index in the source split
        ("input_ids", pa.list_(pa.int32())),  # of all its encodings, one after another
        ("token_type_ids", pa.list_(pa.int8())),
        ("encoding_lengths", pa.list_(pa.int32())),  # tokens of each encoding
        ("token_marks", pa.list_(pa.int16())),  # `camtl.TokenRows.token_marks`, or none for all tokens
        ("label", pa.float32()),  # class number, value of a regression or number of the right choice
        (
            "reference",
            pa.string(),
        ),  # of evaluation rows: JSON of what decoding and metrics need beside the label
    ]
)


def single_encodings(
    row_id: object, input_ids: pa.Array, token_type_ids: pa.Array, label: object
) -> pa.Table:
    """Prepared rows of one encoding each, without marks or references; N rows of `SCHEMA`."""
    lengths = pc.list_value_length(input_ids)
    rows = len(lengths)
    columns = {
        "row_id": row_id,
        "input_ids": input_ids,
        "token_type_ids": token_type_ids,
        "encoding_lengths": pa.ListArray.from_arrays(pa.array(np.arange(rows + 1), pa.int32()), lengths),
        "token_marks": pa.ListArray.from_arrays(
            pa.array(np.zeros(rows + 1), pa.int32()), pa.array([], pa.int16())
        ),
        "label": label,
        "reference": pa.nulls(rows, pa.string()),
    }
    return pa.table(columns, schema=SCHEMA)


@dataclass(frozen=True)
class RowFormat:
    """What is read of a row: the part of a `Task` that a reading process needs.

    Attributes:
        task: Name, for error messages.
        text_columns: One or two; two are encoded as a pair.
        label_column: Column of the labels.
        num_labels: Classes; None for a regression.
        label_range: (lowest, highest) value of a regression, if it has bounds.
    """

    task: str
    text_columns: tuple[str, ...]
    label_column: str
    num_labels: int | None
    label_range: tuple[float, float] | None

    @classmethod
    def of(cls, task: Task) -> RowFormat:
        """What is read of this task's rows."""
        num_labels = task.head.num_labels if task.head.kind == "classification" else None
        return cls(task.name, task.text_columns, task.label_column, num_labels, task.head.label_range)


def tokenizer_json(name: str) -> str:
    """The fast tokenizer's backend as JSON, free of any state of padding and truncation.

    Args:
        name: Hub id, or a folder with a tokenizer.

    Raises:
        ValueError: There is no tokenizer, or none with a fast backend.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"tokenizer {name!r} cannot be loaded ({first_line(error)}): give a Hub id or its folder"
        ) from error
    if not tokenizer.is_fast:
        raise ValueError(f"tokenizer {name!r} has no fast version: choose a backbone with a tokenizer.json")
    # A copy: the state of padding and truncation belongs to whoever else uses this tokenizer.
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_padding()
    backend.no_truncation()
    text: str = backend.to_str()
    return text


def tokenizer_fingerprint(text: str) -> str:
    """Identifies a tokenizer by all that its backend does, wherever its files lie."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_max_seq_length(text: str, max_seq_length: int, texts: int) -> None:
    """Raises ValueError where rows of `texts` texts would have no room for a token of each."""
    needed = _backend(text).num_special_tokens_to_add(texts == 2) + texts
    if max_seq_length < needed:
        raise ValueError(
            f"max_seq_length {max_seq_length} is too short for {texts} text(s) a row: use {needed} or more"
        )


def check_rows(table: pa.Table, rows: RowFormat, *, first_row: int, origin: str) -> NDArray[np.float32]:
    """The labels [N] of source rows, once everything that is read of them is known to be good.

    Args:
        table: Source rows.
        rows: What is read of them.
        first_row: Index of the first row in its split, for error messages.
        origin: File or data set, for error messages.

    Raises:
        ValueError: A column is missing, a text is missing or no text, or a label is out of the task's range.
    """
    for column in (*rows.text_columns, rows.label_column):
        if column not in table.column_names:
            raise ValueError(
                f"task {rows.task!r}: {origin} has no column {column!r} (found: "
                f"{', '.join(table.column_names)}): rename it or change the task's columns"
            )
    for name in rows.text_columns:
        column = table[name]
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise ValueError(f"task {rows.task!r}: column {name!r} of {origin} holds {kind}: give text")
        if column.null_count:
            row = first_row + int(np.argmax(column.is_null().to_numpy()))
            raise ValueError(
                f"task {rows.task!r}: {origin}, row {row} has no {name!r}: fill or remove the row"
            )
    return _labels(table[rows.label_column], rows, first_row, origin)


def encode(
    table: pa.Table, text_columns: tuple[str, ...], *, text: str, max_seq_length: int
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Encodes the texts of N rows in one call, the longest of a row's texts cut first.

    Args:
        table: Source rows.
        text_columns: One or two columns; two are encoded as a pair.
        text: The tokenizer, from `tokenizer_json`.
        max_seq_length: Longest row in tokens, special ones included.

    Returns:
        `input_ids`, `token_type_ids` (lists) and whether a row was cut (bool), each [N].
    """
    tokenizer = _backend(text)
    tokenizer.enable_truncation(max_seq_length, strategy="longest_first")
    texts = [table[column].to_pylist() for column in text_columns]
    encodings = tokenizer.encode_batch_fast(texts[0] if len(texts) == 1 else list(zip(*texts, strict=True)))
    return (
        pa.array([encoding.ids for encoding in encodings], SCHEMA.field("input_ids").type),
        pa.array([encoding.type_ids for encoding in encodings], SCHEMA.field("token_type_ids").type),
        pa.array([bool(encoding.overflowing) for encoding in encodings], pa.bool_()),
    )


@functools.lru_cache(maxsize=2)
def _backend(text: str) -> Tokenizer:
    return Tokenizer.from_str(text)


def _labels(column: pa.ChunkedArray, rows: RowFormat, first_row: int, origin: str) -> NDArray[np.float32]:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise ValueError(
            f"task {rows.task!r}: column {rows.label_column!r} of {origin} holds {kind}: "
            "give labels as numbers"
        )
    labels: NDArray[np.float64] = pc.cast(column, pa.float64()).to_numpy()
    # Written so that NaN, which missing labels have become, is never good.
    if rows.num_labels is not None:
        good = (labels >= 0) & (labels < rows.num_labels) & (labels == np.floor(labels))
        allowed = f"takes whole numbers from 0 to {rows.num_labels - 1}"
    elif rows.label_range is not None:
        good = (labels >= rows.label_range[0]) & (labels <= rows.label_range[1])
        allowed = f"takes {rows.label_range[0]:g} to {rows.label_range[1]:g}"
    else:
        good, allowed = np.isfinite(labels), "takes finite numbers"
    if not good.all():
        index = int(np.argmin(good))
        raise ValueError(
            f"task {rows.task!r}: {origin}, row {first_row + index} has label {column[index].as_py()}, "
            f"but the task {allowed}: correct or remove the row"
        )
    return labels.astype(np.float32)
