"""Encodes source rows: one file for each kind of task, and the reading and tokenising that they share.

A format is a pure function of a table of source rows and of a frozen dataclass that names its columns.
`preparation/` and the doctor call `encode_rows`, which selects the format by that dataclass.
"""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer

from pipeline.data.formats import choice, marked, span, tagging, text
from pipeline.data.formats.choice import ChoiceColumns, ClozeColumns
from pipeline.data.formats.labels import Labels
from pipeline.data.formats.marked import CharacterMark, MarkedColumns, WordMark
from pipeline.data.formats.output import COLUMNS, EncodedRows, Status
from pipeline.data.formats.reading import Origin, SourceRows, duplicate_ids, id_hashes
from pipeline.data.formats.span import SpanColumns
from pipeline.data.formats.tagging import TaggingColumns
from pipeline.data.formats.text import TextColumns

__all__ = [
    "COLUMNS",
    "CharacterMark",
    "ChoiceColumns",
    "ClozeColumns",
    "Columns",
    "EncodedRows",
    "Labels",
    "MarkedColumns",
    "Origin",
    "SpanColumns",
    "Status",
    "TaggingColumns",
    "TextColumns",
    "WordMark",
    "duplicate_ids",
    "encode_rows",
    "id_hashes",
    "texts_per_encoding",
]

Columns = TextColumns | MarkedColumns | ChoiceColumns | ClozeColumns | TaggingColumns | SpanColumns

_FORMATS: dict[type[Any], Callable[..., EncodedRows]] = {
    TextColumns: text.encode,
    MarkedColumns: marked.encode,
    ChoiceColumns: choice.encode,
    ClozeColumns: choice.encode,
    TaggingColumns: tagging.encode,
    SpanColumns: span.encode,
}


def encode_rows(
    table: pa.Table,
    columns: Columns,
    tokenizer: Tokenizer,
    max_seq_length: int,
    *,
    for_training: bool,
    origin: Origin,
) -> EncodedRows:
    """Encodes N source rows in the format of `columns`.

    Args:
        table: Source rows.
        columns: Names of their columns.
        tokenizer: Its truncation and padding are switched off.
        max_seq_length: Longest encoding in tokens, special ones included.
        for_training: Whether to leave out the references of the evaluation.
        origin: How errors name the rows.

    Raises:
        ValueError: A column or a value is missing or invalid; one line names the task, file, row and remedy.
    """
    encode = _FORMATS[type(columns)]
    return encode(SourceRows(table, origin), columns, tokenizer, max_seq_length, for_training=for_training)


def texts_per_encoding(columns: Columns) -> int:
    """1 where an encoding holds a text, 2 where it holds a pair."""
    if isinstance(columns, TextColumns | MarkedColumns):
        return len(columns.texts)
    return 1 if isinstance(columns, TaggingColumns) else 2
