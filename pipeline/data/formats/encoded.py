"""What every format gives back: prepared columns, one row per source row, and what became of each row."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.data.formats.assembly import Encodings

# One row per source row. `row_id` is the reader's to add: a format sees only the rows it is given.
COLUMNS = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),  # all encodings of the row, one after another
        ("token_type_ids", pa.list_(pa.int8())),
        ("encoding_lengths", pa.list_(pa.int32())),  # tokens of each encoding
        ("token_marks", pa.list_(pa.int16())),  # empty, or one per token: meaning by kind
        ("label", pa.float32()),
        ("reference", pa.string()),  # JSON of what decoding and the metric need; null where they need nothing
    ]
)


class Status(enum.IntEnum):
    """What became of a row. Every row is encoded and can be predicted; some must not be trained on."""

    KEPT = 0
    UNANSWERABLE = 1  # trained: a question that has no answer, in a set with such questions
    EMPTY_TEXT = 2  # trained, the last such: one of its texts has no token
    UNLABELLED = 3
    MISSING_ANSWER = 4  # no gold answer is given
    ANSWER_NOT_FOUND = 5  # in no place of the context, or not among the choices
    ANSWER_CUT = 6  # found, but no window holds it whole
    MARK_NOT_FOUND = 7  # a marked word is not in its text, or has no token of its own
    MARK_CUT = 8  # a marked word lies behind the cut
    NO_WORDS = 9  # no word of the sentence has a token
    TAGS_DIFFER = 10  # more or fewer tags than words

    @property
    def trained(self) -> bool:
        """Whether such rows are trained on."""
        return self <= Status.EMPTY_TEXT


@dataclass(frozen=True)
class EncodedRows:
    """N source rows as a format encoded them.

    Attributes:
        table: Rows of `COLUMNS`, as many and in the same order as the source rows.
        status: [N] numbers of `Status`: the first that applies.
        truncated: [N] whether any token of the source row is in none of its encodings.
    """

    table: pa.Table
    status: NDArray[np.int8]
    truncated: NDArray[np.bool_]

    @property
    def trainable(self) -> NDArray[np.bool_]:
        """[N] whether a row belongs into a training split."""
        return self.status <= Status.EMPTY_TEXT

    def report(self) -> dict[str, int]:
        """{status in lower case: rows}, of all but `KEPT`, and without zeros."""
        counts = np.bincount(self.status, minlength=len(Status))
        return {status.name.lower(): int(counts[status]) for status in Status if status and counts[status]}


def first_status(*conditions: tuple[Status, NDArray[np.bool_]]) -> NDArray[np.int8]:
    """[N] for every row the first status whose condition [N] holds, `KEPT` where none does."""
    numbers = [np.int8(status) for status, _ in conditions]
    return np.select([mask for _, mask in conditions], numbers, np.int8(Status.KEPT)).astype(np.int8)


def rows_table(
    encodings: Encodings,
    encodings_per_row: NDArray[np.int64],
    *,
    marks: NDArray[np.int16] | None,
    labels: NDArray[np.float32],
    references: Sequence[str] | None,
) -> pa.Table:
    """Encodings brought together by source row, as a table of `COLUMNS`.

    Args:
        encodings: E encodings, those of a row one after another.
        encodings_per_row: [N], summing up to E.
        marks: [T] one per token; None for kinds without marks.
        labels: [N].
        references: [N]; None for null.
    """
    encoding_bounds = _bounds(encodings_per_row)
    token_bounds = _bounds(encodings.lengths)[encoding_bounds]
    none = np.zeros(len(labels) + 1, np.int64)
    columns = [
        _lists(encodings.ids, token_bounds, COLUMNS.field("input_ids").type),
        _lists(encodings.types, token_bounds, COLUMNS.field("token_type_ids").type),
        _lists(encodings.lengths, encoding_bounds, COLUMNS.field("encoding_lengths").type),
        _lists(
            np.empty(0, np.int16) if marks is None else marks,
            none if marks is None else token_bounds,
            COLUMNS.field("token_marks").type,
        ),
        pa.array(labels, pa.float32()),
        pa.nulls(len(labels), pa.string()) if references is None else pa.array(references, pa.string()),
    ]
    return pa.table(columns, schema=COLUMNS)


def _bounds(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _lists(values: NDArray[np.signedinteger[Any]], bounds: NDArray[np.int64], kind: pa.ListType) -> pa.Array:
    offsets = pa.array(bounds.astype(np.int32), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(values, kind.value_type), type=kind)
