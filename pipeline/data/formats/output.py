"""The result of every format: a table of prepared columns, one row per source row, and a status of each row.

Shapes: N rows, E encodings, T tokens.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.data.formats.encoding import Encodings, Ints

# The caller adds `row_id`: a format sees only the rows that it receives.
COLUMNS = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),  # all encodings of the row, one after another
        ("token_type_ids", pa.list_(pa.int8())),
        ("encoding_lengths", pa.list_(pa.int32())),  # tokens of each encoding
        ("token_marks", pa.list_(pa.int16())),  # empty, or one per token: meaning by kind
        ("label", pa.float32()),
        ("reference", pa.string()),  # JSON for decoding and the metric; null where they need nothing
    ]
)


class Status(enum.IntEnum):
    """The state of a row. Every row is encoded and can be predicted; training uses those up to `EMPTY_TEXT`."""

    KEPT = 0
    UNANSWERABLE = 1  # the question has no answer, in a set with such questions
    EMPTY_TEXT = 2  # one of its texts has no token
    UNLABELLED = 3
    MISSING_ANSWER = 4  # the row states no gold answer
    ANSWER_NOT_FOUND = 5  # neither in the context nor among the choices
    ANSWER_CUT = 6  # in the context, but no window contains it
    MARK_NOT_FOUND = 7  # a marked word is not in its text, or has no token of its own
    MARK_CUT = 8  # a marked word lies after the cut
    NO_WORDS = 9  # no word of the sentence has a token
    TAGS_DIFFER = 10  # more or fewer tags than words


# Candidates and the rows to which each applies [N]; a row has the first that applies.
Statuses = Sequence[tuple[Status, NDArray[np.bool_]]]


@dataclass(frozen=True)
class EncodedRows:
    """N encoded source rows.

    Attributes:
        table: Rows of `COLUMNS`, in the order of the source rows.
        status: [N] numbers of `Status`: the first that applies.
        truncated: [N] whether any token of the source row is in none of its encodings.
    """

    table: pa.Table
    status: NDArray[np.int8]
    truncated: NDArray[np.bool_]

    @property
    def trainable(self) -> NDArray[np.bool_]:
        """[N] whether a row belongs in a training split."""
        return self.status <= Status.EMPTY_TEXT

    def report(self) -> dict[str, int]:
        """{status in lower case: number of rows}, without `KEPT` and without zeros."""
        counts = np.bincount(self.status, minlength=len(Status))
        return {status.name.lower(): int(counts[status]) for status in Status if status and counts[status]}

    @classmethod
    def of(
        cls,
        encodings: Encodings,
        statuses: Statuses,
        truncated: NDArray[np.bool_],
        *,
        per_row: Ints | None = None,
        marks: NDArray[np.int16] | None = None,
        labels: NDArray[np.float32] | None = None,
        references: Sequence[str] | None = None,
    ) -> Self:
        """Groups E encodings by source row; those of a row lie one after another.

        Args:
            encodings, statuses, truncated: Of N rows; `KEPT` where no status applies.
            per_row: [N] number of encodings of each row; None for one each.
            marks: [T]; None for kinds without marks.
            labels, references: [N]; None for zeros and for null.
        """
        count = len(truncated)
        rows = _bounds(np.ones(count, np.int64) if per_row is None else per_row)
        tokens = _bounds(encodings.lengths)[rows]
        columns = [
            _lists(tokens, encodings.ids),
            _lists(tokens, encodings.types),
            _lists(rows, encodings.lengths.astype(np.int32)),
            _lists(tokens * 0, np.empty(0, np.int16)) if marks is None else _lists(tokens, marks),
            pa.array(np.zeros(count) if labels is None else labels, pa.float32()),
            pa.nulls(count, pa.string()) if references is None else pa.array(references, pa.string()),
        ]
        masks, numbers = [mask for _, mask in statuses], [np.int8(status) for status, _ in statuses]
        status = np.select(masks, numbers, np.int8(Status.KEPT)).astype(np.int8)
        return cls(pa.table(columns, schema=COLUMNS), status, truncated)


def _bounds(lengths: Ints) -> Ints:
    return np.cumsum(np.append(0, lengths))


def _lists(bounds: Ints, values: NDArray[np.signedinteger[Any]]) -> pa.ListArray:
    return pa.ListArray.from_arrays(bounds.astype(np.int32), values)
