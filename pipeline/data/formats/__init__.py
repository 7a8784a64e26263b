"""Source rows into encodings, one file for each kind of task.

Each format is a pure function of a table of source rows: what is read of them is a frozen dataclass of
column names, and what comes back is a table of prepared columns, one row per source row, with what became
of each row. `encode_rows` finds the format that belongs to such a dataclass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer

from pipeline.data.formats import choice, marked, span, tagging, text
from pipeline.data.formats.choice import ChoiceColumns, ClozeColumns
from pipeline.data.formats.encoded import COLUMNS, EncodedRows, Status
from pipeline.data.formats.labels import Labels
from pipeline.data.formats.marked import CharacterMark, MarkedColumns, WordMark
from pipeline.data.formats.source import Origin, duplicate_ids, id_hashes
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
    """Encodes source rows as the kind of `columns` asks; arguments and errors as in `text.encode`."""
    encode = _FORMATS[type(columns)]
    return encode(table, columns, tokenizer, max_seq_length, for_training=for_training, origin=origin)


def texts_per_encoding(columns: Columns) -> int:
    """1 where an encoding holds a text, 2 where it holds a pair."""
    if isinstance(columns, TextColumns | MarkedColumns):
        return len(columns.texts)
    return 1 if isinstance(columns, TaggingColumns) else 2
