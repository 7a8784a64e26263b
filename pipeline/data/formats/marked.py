"""Classification of a text or a pair in which two words are marked: WiC and WSC.

As in the BERT baselines of SuperGLUE, the head reads the states of the marked words beside the first
token's. A token belongs to one word at most: where the two overlap, to the shorter one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.data.formats.assembly import Frame
from pipeline.data.formats.encoded import EncodedRows, Status, first_status, rows_table
from pipeline.data.formats.labels import Labels, read_labels
from pipeline.data.formats.source import Origin, read_column, read_texts, require_text
from pipeline.data.formats.text import encode_texts
from pipeline.data.formats.tokens import Ints, tokenize


@dataclass(frozen=True, kw_only=True)
class CharacterMark:
    """A marked word by its characters, as in WiC.

    Attributes:
        text: Which of the row's texts has it: 0 or 1.
        start: Column of its first character's number.
        end: Column of the number behind its last character.
    """

    text: int
    start: str
    end: str


@dataclass(frozen=True, kw_only=True)
class WordMark:
    """A marked word by its place among the words, as in WSC.

    Attributes:
        text: Which of the row's texts has it: 0 or 1.
        index: Column of the number of its first word, words being what white space parts.
        words: Column of its text.
    """

    text: int
    index: str
    words: str


Mark = CharacterMark | WordMark


@dataclass(frozen=True, kw_only=True)
class MarkedColumns:
    """What is read of a row.

    Attributes:
        texts: One, or two that are encoded as a pair.
        marks: The two marked words.
        labels: Its label.
    """

    texts: tuple[str, ...]
    marks: tuple[Mark, Mark]
    labels: Labels


def encode(
    table: pa.Table,
    columns: MarkedColumns,
    tokenizer: Tokenizer,
    max_seq_length: int,
    *,
    for_training: bool,
    origin: Origin,
) -> EncodedRows:
    """Encodes N rows, one encoding each, with 1 and 2 at the tokens of the marked words.

    A word that has no token of its own or was cut off is marked at a special token, the first word at
    the encoding's first and the second at its last token, so that a head finds both in every row; such
    rows are not trained on. Arguments and errors as in `pipeline.data.formats.text.encode`.
    """
    del for_training  # evaluation needs nothing but the label
    labels, unlabelled = read_labels(table, columns.labels, origin)
    texts = [read_texts(table, spec, origin) for spec in columns.texts]
    tokens = [tokenize(text, tokenizer, spans=True) for text in texts]
    encodings, truncated = encode_texts(tokens, Frame.of(tokenizer, len(tokens)), max_seq_length)
    row = encodings.encoding
    places = [_characters(table, mark, texts[mark.text], origin) for mark in columns.marks]
    touched = []
    for mark, (start, end) in zip(columns.marks, places, strict=True):
        spans = encodings.spans(mark.text, tokens[mark.text])
        touched.append((spans[:, 0] < end[row]) & (spans[:, 1] > start[row]) & (spans[:, 0] >= 0))
    sizes = [np.bincount(row[mask], minlength=len(labels)) for mask in touched]
    second_is_shorter = (sizes[1] <= sizes[0])[row]
    both = touched[0] & touched[1]
    marks = np.zeros(len(row), np.int16)
    marks[touched[0] & ~(both & second_is_shorter)] = 1
    marks[touched[1] & ~(both & ~second_is_shorter)] = 2
    lost = [np.bincount(row[marks == number], minlength=len(labels)) == 0 for number in (1, 2)]
    last = encodings.first + encodings.lengths - 1
    marks[encodings.first[lost[0]]], marks[last[lost[1]]] = 1, 2
    outside = np.any([end <= start for start, end in places], axis=0)
    return EncodedRows(
        rows_table(encodings, np.ones(len(labels), np.int64), marks=marks, labels=labels, references=None),
        first_status(
            (Status.UNLABELLED, unlabelled),
            (Status.MARK_CUT, (lost[0] | lost[1]) & truncated & ~outside),
            (Status.MARK_NOT_FOUND, lost[0] | lost[1]),
            (Status.EMPTY_TEXT, np.any([text.lengths == 0 for text in tokens], axis=0)),
        ),
        truncated,
    )


def _characters(table: pa.Table, mark: Mark, texts: pa.Array, origin: Origin) -> tuple[Ints, Ints]:
    """First and last + 1 character [N] of a marked word; both 0 where the text does not have it."""
    if isinstance(mark, CharacterMark):
        start, end = (_whole_numbers(table, name, origin) for name in (mark.start, mark.end))
        lengths = np.fromiter(map(len, texts.to_pylist()), np.int64, len(texts))
        inside = (start >= 0) & (start < end) & (end <= lengths)
        return np.where(inside, start, 0), np.where(inside, end, 0)
    words = require_text(read_column(table, mark.words, origin), mark.words, origin)
    index = _whole_numbers(table, mark.index, origin)
    found = [
        word_span(*row) for row in zip(texts.to_pylist(), words.to_pylist(), index.tolist(), strict=True)
    ]
    places = np.array(found, np.int64).reshape(-1, 2)
    return places[:, 0], places[:, 1]


def word_span(text: str, words: str, index: int) -> tuple[int, int]:
    """Characters (first, last + 1) of the place where a text has some words; (0, 0) where it does not.

    The place nearest to word number `index` counts: some numbers of the published sets are off by a
    word, and some words are spelt with another case.
    """
    begins = [match.start() for match in re.finditer(r"\S+", text)]
    pattern = r"\s+".join(map(re.escape, words.split()))
    places = [match.span() for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)]
    if not pattern or not places or not begins:
        return 0, 0
    expected = begins[min(max(index, 0), len(begins) - 1)]
    return min(places, key=lambda place: abs(place[0] - expected))


def _whole_numbers(table: pa.Table, name: str, origin: Origin) -> Ints:
    column = read_column(table, name, origin)
    if not pa.types.is_integer(column.type):
        raise ValueError(
            f"task {origin.task!r}: column {name!r} of {origin.name} holds {column.type}: give whole numbers"
        )
    numbers: NDArray[np.int64] = column.cast(pa.int64()).fill_null(-1).to_numpy()
    return numbers
