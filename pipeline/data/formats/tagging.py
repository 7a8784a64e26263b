"""Tagging: one class for each word of a sentence that is given as words."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from pipeline.data.formats.assembly import Frame
from pipeline.data.formats.encoded import EncodedRows, Status, first_status, rows_table
from pipeline.data.formats.labels import class_numbers
from pipeline.data.formats.source import Origin, is_text, read_column, read_text_lists, require_lists
from pipeline.data.formats.text import encode_texts
from pipeline.data.formats.tokens import Ints, tokenize

IGNORED = -100  # the mark of a token for which nothing is predicted
OUTSIDE = "O"


@dataclass(frozen=True, kw_only=True)
class TaggingColumns:
    """What is read of a row.

    Attributes:
        names: Names of the tags in the order of their numbers.
        words: Column of lists of words.
        tags: Column of lists of tags, one for each word: their numbers or their names.
    """

    names: tuple[str, ...]
    words: str = "tokens"
    tags: str = "tags"


def encode(
    table: pa.Table,
    columns: TaggingColumns,
    tokenizer: Tokenizer,
    max_seq_length: int,
    *,
    for_training: bool,
    origin: Origin,
) -> EncodedRows:
    """Encodes N sentences, one encoding each, with a word's tag at its first token and -100 elsewhere.

    The words are tokenised as one text with spaces between them, so that tokenizers which see the space
    before a word (byte-level ones) find it. A word without a tag (-1, -100 or null) is not trained on
    and counts as `O`. Where tags and words differ in number the row is not trained on; tags that are
    missing count as `O`, surplus ones are dropped.
    Arguments and errors as in `pipeline.data.formats.text.encode`.
    """
    sentences = read_text_lists(table, columns.words, origin)
    words, bounds = sentences.flatten(), sentences.offsets.to_numpy().astype(np.int64)
    word_counts = np.diff(bounds)
    tags, tag_counts = _read_tags(table, columns, word_counts, origin)
    tokens = tokenize(pc.binary_join(sentences, " "), tokenizer, spans=True)
    encodings, truncated = encode_texts([tokens], Frame.of(tokenizer, 1), max_seq_length)

    # The sentences of all rows follow each other on one axis of characters; a word is found by searching it.
    # A token is of the word of its last character: byte-level tokens may begin with the space before.
    own = np.flatnonzero(encodings.piece == 0)
    row = encodings.encoding[own]
    characters = pc.utf8_length(words).to_numpy().astype(np.int64) + 1  # and a space
    begins = np.cumsum(characters) - characters
    last_character = np.maximum(tokens.spans[encodings.source[own], 1] - 1, 0)
    word = np.searchsorted(begins, begins[bounds[row]] + last_character, side="right") - 1
    leads = np.append(True, word[1:] != word[:-1])[: len(word)]
    labelled = leads & (tags[word] != IGNORED)
    marks = np.full(len(encodings.ids), IGNORED, np.int16)
    marks[own[labelled]] = tags[word[labelled]]

    count = len(word_counts)
    labelled_per_row = np.bincount(row[labelled], minlength=count)
    references = None
    if not for_training:
        gold = np.array([*columns.names, OUTSIDE], object)[np.maximum(tags, -1)]
        labelled_words = word[labelled] - bounds[row[labelled]]
        ends = np.cumsum(labelled_per_row)
        references = [
            json.dumps(
                {
                    "tags": gold[bounds[index] : bounds[index + 1]].tolist(),
                    "tokens": sentence,
                    "words": labelled_words[ends[index] - labelled_per_row[index] : ends[index]].tolist(),
                },
                ensure_ascii=False,
            )
            for index, sentence in enumerate(sentences.to_pylist())
        ]
    return EncodedRows(
        rows_table(
            encodings,
            np.ones(count, np.int64),
            marks=marks,
            labels=np.zeros(count, np.float32),
            references=references,
        ),
        first_status(
            (Status.NO_WORDS, tokens.lengths == 0),
            (Status.UNLABELLED, labelled_per_row == 0),
            (Status.TAGS_DIFFER, tag_counts != word_counts),
        ),
        truncated,
    )


def _read_tags(
    table: pa.Table, columns: TaggingColumns, word_counts: Ints, origin: Origin
) -> tuple[Ints, Ints]:
    """The tag of every word of all rows, `IGNORED` where it has none, and the number of tags of each row."""
    column = read_column(table, columns.tags, origin)
    lists = require_lists(column, columns.tags, origin, may_lack=True)
    counts, values = pc.list_value_length(lists).to_numpy().astype(np.int64), lists.flatten()
    row = np.repeat(np.arange(len(counts)), counts)
    absent = values.is_null().to_numpy(zero_copy_only=False)
    if is_text(values.type):
        numbers = class_numbers(values, columns.names)
        wrong = (numbers < 0) & ~absent
    elif pa.types.is_integer(values.type) or pa.types.is_null(values.type):
        numbers = values.cast(pa.int64()).fill_null(-1).to_numpy()
        wrong = ((numbers < 0) & ~np.isin(numbers, (-1, IGNORED))) | (numbers >= len(columns.names))
    else:
        raise ValueError(
            f"task {origin.task!r}: column {columns.tags!r} of {origin.name} holds lists of {values.type}: "
            "give tags as whole numbers or as names"
        )
    if wrong.any():
        index = int(np.argmax(wrong))
        origin.of_items(row).fail(
            index,
            f"has tag {values[index].as_py()!r}, but the task's {len(columns.names)} tags are "
            f"{', '.join(columns.names)}: correct it or change the task's label names",
        )
    position = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    first_word = np.cumsum(word_counts) - word_counts
    kept = position < word_counts[row]
    tags = np.full(int(word_counts.sum()), IGNORED, np.int64)
    tags[(first_word[row] + position)[kept]] = np.where(numbers < 0, IGNORED, numbers)[kept]
    return tags, counts
