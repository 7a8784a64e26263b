"""Tagging: one class for each word of a sentence that is a list of words."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from pipeline.data.formats.encoding import Ints, encode_texts, ragged_ranges, tokenize
from pipeline.data.formats.labels import class_numbers
from pipeline.data.formats.output import EncodedRows, Status
from pipeline.data.formats.reading import SourceRows, is_text

IGNORED = -100  # the mark of a token without a prediction
OUTSIDE = "O"


@dataclass(frozen=True, kw_only=True)
class TaggingColumns:
    """Columns of a row.

    Attributes:
        names: Names of the tags in the order of their numbers.
        words: Column of lists of words.
        tags: Column of lists of tags, one for each word: their numbers or their names.
    """

    names: tuple[str, ...]
    words: str = "tokens"
    tags: str = "tags"


def encode(
    rows: SourceRows,
    columns: TaggingColumns,
    tokenizer: Tokenizer,
    max_seq_length: int,
    *,
    for_training: bool,
) -> EncodedRows:
    """Encodes N sentences, one encoding each, with a word's tag at its first token and -100 elsewhere.

    The words are tokenised as one text with spaces between them, since byte-level tokenizers encode the
    space before a word. A word without a tag (-1, -100 or null) is not trained on and counts as `O`.
    A row with more or fewer tags than words is not trained on; missing tags count as `O`, surplus ones
    are dropped.
    """
    sentences = rows.text_lists(columns.words)
    words, bounds = sentences.flatten(), sentences.offsets.to_numpy().astype(np.int64)
    word_counts, count = np.diff(bounds), len(rows)
    tags, tag_counts = _read_tags(rows, columns, word_counts)
    tokens = tokenize(pc.binary_join(sentences, " "), tokenizer, spans=True)
    encodings, truncated = encode_texts([tokens], tokenizer, max_seq_length)

    # All sentences lie one after another on one axis of characters, on which each token's word is searched.
    # A token belongs to the word of its last character: byte-level tokens may begin with the space before.
    text_tokens = np.flatnonzero(encodings.piece == 0)
    row = encodings.encoding[text_tokens]
    characters = pc.utf8_length(words).to_numpy().astype(np.int64) + 1  # and a space
    begins = np.cumsum(characters) - characters
    last_character = np.maximum(tokens.spans[encodings.source[text_tokens], 1] - 1, 0)
    word = np.searchsorted(begins, begins[bounds[row]] + last_character, side="right") - 1
    leads = np.append(True, word[1:] != word[:-1])[: len(word)]
    labelled = leads & (tags[word] != IGNORED)
    word, row = word[labelled], row[labelled]
    marks = np.full(len(encodings.ids), IGNORED, np.int16)
    marks[text_tokens[labelled]] = tags[word]

    references = None
    labelled_per_row = np.bincount(row, minlength=count)
    if not for_training:
        names = np.array([*columns.names, OUTSIDE], object)[np.maximum(tags, -1)]
        gold = np.split(names, bounds[1:-1])
        positions = np.split(word - bounds[row], np.cumsum(labelled_per_row)[:-1])
        references = [
            json.dumps({"tags": tag.tolist(), "tokens": texts, "words": index.tolist()}, ensure_ascii=False)
            for tag, texts, index in zip(gold, sentences.to_pylist(), positions, strict=False)
        ]
    statuses = [
        (Status.NO_WORDS, tokens.lengths == 0),
        (Status.UNLABELLED, labelled_per_row == 0),
        (Status.TAGS_DIFFER, tag_counts != word_counts),
    ]
    return EncodedRows.of(encodings, statuses, truncated, marks=marks, references=references)


def _read_tags(rows: SourceRows, columns: TaggingColumns, word_counts: Ints) -> tuple[Ints, Ints]:
    """The tag of every word of all rows, `IGNORED` where it has none, and the number of tags of each row."""
    lists = rows.lists(columns.tags, may_lack=True)
    counts, values = pc.list_value_length(lists).to_numpy().astype(np.int64), lists.flatten()
    row = np.repeat(np.arange(len(counts)), counts)
    if is_text(values.type):
        numbers = class_numbers(values, columns.names)
        wrong = (numbers < 0) & values.is_valid().to_numpy(zero_copy_only=False)
    elif pa.types.is_integer(values.type) or pa.types.is_null(values.type):
        numbers = values.cast(pa.int64()).fill_null(-1).to_numpy()
        wrong = ((numbers < 0) & ~np.isin(numbers, (-1, IGNORED))) | (numbers >= len(columns.names))
    else:
        problem = f"holds lists of {values.type}: give tags as whole numbers or as names"
        rows.origin.fail_column(columns.tags, problem)
    if wrong.any():
        index = int(np.argmax(wrong))
        rows.origin.of_items(row).fail(
            index,
            f"has tag {values[index].as_py()!r}, but the task's {len(columns.names)} tags are "
            f"{', '.join(columns.names)}: correct it or change the task's label names",
        )
    first_word = np.cumsum(word_counts) - word_counts
    word = ragged_ranges(first_word, counts)
    has_word = word < (first_word + word_counts)[row]
    tags = np.full(int(word_counts.sum()), IGNORED, np.int64)
    tags[word[has_word]] = np.where(numbers < 0, IGNORED, numbers)[has_word]
    return tags, counts
