"""Classification of a text or a pair in which two words are marked: WiC and WSC.

As in the BERT baselines of SuperGLUE, the head reads the states of the marked words and of the first
token. A token belongs to one word at most: where the two overlap, to the shorter one.
"""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from pipeline.data.formats.encoding import Ints, encode_texts, tokenize
from pipeline.data.formats.labels import Labels, read_labels
from pipeline.data.formats.output import EncodedRows, Status
from pipeline.data.formats.reading import SourceRows


@dataclass(frozen=True, kw_only=True)
class CharacterMark:
    """A marked word located by its characters, as in WiC.

    Attributes:
        text: Number of the row's text that contains it: 0 or 1.
        start: Column of the position of its first character.
        end: Column of the position after its last character.
    """

    text: int
    start: str
    end: str

    def spans(self, rows: SourceRows, texts: pa.Array) -> tuple[Ints, Ints]:
        """First and last + 1 character [N] of the word; both 0 where the text does not contain it."""
        start, end = rows.whole_numbers(self.start), rows.whole_numbers(self.end)
        lengths = np.fromiter(map(len, texts.to_pylist()), np.int64, len(texts))
        inside = (start >= 0) & (start < end) & (end <= lengths)
        return np.where(inside, start, 0), np.where(inside, end, 0)


@dataclass(frozen=True, kw_only=True)
class WordMark:
    """Marked words located by their number among the words, as in WSC.

    Attributes:
        text: Number of the row's text that contains them: 0 or 1.
        index: Column of the number of the first, white space separating words.
        words: Column of their text.
    """

    text: int
    index: str
    words: str

    def spans(self, rows: SourceRows, texts: pa.Array) -> tuple[Ints, Ints]:
        """As `CharacterMark.spans`."""
        words, index = rows.texts(self.words), rows.whole_numbers(self.index)
        spans = list(map(word_span, texts.to_pylist(), words.to_pylist(), index.tolist()))
        start, end = np.array(spans, np.int64).reshape(-1, 2).T
        return start, end


@dataclass(frozen=True, kw_only=True)
class MarkedColumns:
    """Columns of a row.

    Attributes:
        texts: One, or two that are encoded as a pair.
        marks: The two marked words.
        labels: Its label.
    """

    texts: tuple[str, ...]
    marks: tuple[CharacterMark | WordMark, CharacterMark | WordMark]
    labels: Labels


def encode(
    rows: SourceRows, columns: MarkedColumns, tokenizer: Tokenizer, max_seq_length: int, *, for_training: bool
) -> EncodedRows:
    """Encodes N rows, one encoding each, with marks 1 and 2 at the tokens of the marked words.

    The head needs both marks in every row. So a word without a token is marked at a special token, the
    first word at the encoding's first and the second at its last; training leaves such rows out.
    """
    del for_training  # evaluation needs only the label
    labels, unlabelled = read_labels(rows, columns.labels)
    texts = [rows.texts(spec) for spec in columns.texts]
    tokens = [tokenize(text, tokenizer, spans=True) for text in texts]
    encodings, truncated = encode_texts(tokens, tokenizer, max_seq_length)
    row, count = encodings.encoding, len(rows)
    words = [mark.spans(rows, texts[mark.text]) for mark in columns.marks]
    masks = []
    for mark, (start, end) in zip(columns.marks, words, strict=True):
        spans = encodings.spans(mark.text, tokens[mark.text])
        masks.append((spans[:, 0] < end[row]) & (spans[:, 1] > start[row]))
    sizes = [np.bincount(row[mask], minlength=count) for mask in masks]
    second_is_shorter = (sizes[1] <= sizes[0])[row]
    marks = np.zeros(len(row), np.int16)
    marks[masks[0] & ~(masks[1] & second_is_shorter)] = 1
    marks[masks[1] & ~(masks[0] & ~second_is_shorter)] = 2
    unmarked = [~np.isin(np.arange(count), row[marks == number]) for number in (1, 2)]
    last = encodings.first + encodings.lengths - 1
    marks[encodings.first[unmarked[0]]], marks[last[unmarked[1]]] = 1, 2
    missing = np.any([end <= start for start, end in words], axis=0)
    statuses = [
        (Status.UNLABELLED, unlabelled),
        (Status.MARK_CUT, (unmarked[0] | unmarked[1]) & truncated & ~missing),
        (Status.MARK_NOT_FOUND, unmarked[0] | unmarked[1]),
        (Status.EMPTY_TEXT, np.any([text.lengths == 0 for text in tokens], axis=0)),
    ]
    return EncodedRows.of(encodings, statuses, truncated, marks=marks, labels=labels)


def word_span(text: str, words: str, index: int) -> tuple[int, int]:
    """Characters (first, last + 1) at which a text contains some words; (0, 0) where it does not.

    Of several occurrences the nearest to word number `index` counts: in the published sets some numbers
    are off by one word and some words differ in case.
    """
    begins = [match.start() for match in re.finditer(r"\S+", text)]
    pattern = r"\s+".join(map(re.escape, words.split()))
    spans = [match.span() for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)]
    if not pattern or not spans or not begins:
        return 0, 0
    expected = begins[min(max(index, 0), len(begins) - 1)]
    return min(spans, key=lambda span: abs(span[0] - expected))
