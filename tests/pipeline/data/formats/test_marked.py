"""Marked words: their tokens in a text or a pair, words that are cut off, missing or overlapping."""

from typing import Any

import pytest

from pipeline.data.formats import CharacterMark, Labels, MarkedColumns, Status, WordMark
from pipeline.data.formats.marked import word_span
from tests.pipeline.data.formats.harness import Encode, Result, one_row

IN_CONTEXT = MarkedColumns(
    texts=("sentence1", "sentence2"),
    marks=(
        CharacterMark(text=0, start="start1", end="end1"),
        CharacterMark(text=1, start="start2", end="end2"),
    ),
    labels=Labels(num_labels=2),
)
COREFERENCE = MarkedColumns(
    texts=("text",),
    marks=(
        WordMark(text=0, index="span1_index", words="span1_text"),
        WordMark(text=0, index="span2_index", words="span2_text"),
    ),
    labels=Labels(num_labels=2),
)


def pair(first: str, word: str, second: str, other: str, **changes: Any) -> dict[str, list[Any]]:
    """A row of WiC with the first occurrences of `word` and `other` marked."""
    row = {"sentence1": first, "start1": first.find(word), "end1": first.find(word) + len(word)}
    row |= {"sentence2": second, "start2": second.find(other), "end2": second.find(other) + len(other)}
    return one_row(**row | {"label": 1} | changes)


def coreference(text: str, first: tuple[int, str], second: tuple[int, str], label: int = 0) -> dict[str, Any]:
    """A row of WSC with two marked words, each its number and text."""
    row = {"span1_index": first[0], "span1_text": first[1], "span2_index": second[0], "span2_text": second[1]}
    return one_row(text=text, label=label, **row)


def marked(encoded: Result) -> str:
    """The encoding with each token's mark behind it."""
    [encoding] = encoded.encodings()
    pairs = zip(encoding.tokens, encoding.marks, strict=True)
    return " ".join(token + (f"/{mark}" if mark else "") for token, mark in pairs)


@pytest.mark.parametrize(
    ("columns", "rows", "expected"),
    [
        (  # each word in its own sentence
            IN_CONTEXT,
            pair("the xyz ran", "xyz", "a cat, xyz!", "xyz"),
            "[CLS] the x/1 ##y/1 ##z/1 ran [SEP] a cat , x/2 ##y/2 ##z/2 [UNK] [SEP]",
        ),
        (
            COREFERENCE,
            coreference("the cat saw the dog because the cat ran .", (0, "The cat"), (6, "the cat")),
            "[CLS] the/1 cat/1 saw the dog because the/2 cat/2 ran . [SEP]",
        ),
        (  # the shorter word has the common token
            COREFERENCE,
            coreference("the cat saw ada", (0, "the cat"), (1, "cat")),
            "[CLS] the/1 cat/2 saw ada [SEP]",
        ),
        (
            COREFERENCE,
            coreference("the cat saw ada", (1, "cat"), (0, "the cat saw")),
            "[CLS] the/2 cat/1 saw/2 ada [SEP]",
        ),
        (  # a lost word is marked at an end of the encoding
            COREFERENCE,
            coreference("the cat ran", (0, "dog"), (0, "house")),
            "[CLS]/1 the cat ran [SEP]/2",
        ),
    ],
)
def test_every_token_of_a_word_is_marked(
    encode: Encode, columns: MarkedColumns, rows: dict[str, Any], expected: str
) -> None:
    assert marked(encode(columns, rows)) == expected


@pytest.mark.parametrize(
    ("text", "words", "index", "span"),
    [
        ("the cat saw the cat", "the cat", 3, (12, 19)),
        ('saw him," he said', "him", 1, (4, 7)),  # white space separates words, punctuation does not
        ("use it so it ran", "it", 0, (4, 6)),  # a number that is off by one word
        ("a cat  the\ncat", "The cat", 2, (7, 14)),  # case, and white space between the words
        ("theme the", "the", 0, (6, 9)),  # complete words only
        ("the cat", "cat", 99, (4, 7)),
        ("the cat", "the", -3, (0, 3)),
        ("the cat", "dog", 0, (0, 0)),
        ("the cat", "", 0, (0, 0)),
        ("", "cat", 0, (0, 0)),
    ],
)
def test_the_nearest_occurrence_counts(text: str, words: str, index: int, span: tuple[int, int]) -> None:
    assert word_span(text, words, index) == span


@pytest.mark.parametrize(
    ("columns", "rows", "status"),
    [
        (IN_CONTEXT, pair("the cat ran", "cat", "a dog", "dog", end1=99), Status.MARK_NOT_FOUND),
        (IN_CONTEXT, pair("the cat ran", "cat", "a dog", "dog", start1=-1), Status.MARK_NOT_FOUND),
        (IN_CONTEXT, pair("the cat ran", "cat", "a dog", "dog", start2=3, end2=3), Status.MARK_NOT_FOUND),
        (IN_CONTEXT, pair("the  ran", " ", "a dog", "dog"), Status.MARK_NOT_FOUND),
        (IN_CONTEXT, pair("", "", "a dog", "dog"), Status.MARK_NOT_FOUND),
        (IN_CONTEXT, pair("the cat " * 50, "cat", "a dog", "dog", end1=9999), Status.MARK_NOT_FOUND),
        (COREFERENCE, coreference("the cat ran", (0, "dog"), (1, "cat")), Status.MARK_NOT_FOUND),
        (COREFERENCE, coreference("the cat ran", (1, "cat"), (1, "cat")), Status.MARK_NOT_FOUND),
        (COREFERENCE, coreference("the cat " * 99 + "dog", (1, "cat"), (198, "dog")), Status.MARK_CUT),
        (COREFERENCE, coreference("the cat ran", (0, "the"), (1, "cat"), label=-1), Status.UNLABELLED),
    ],
)
def test_a_row_without_both_words_is_not_trained_on(
    encode: Encode, columns: MarkedColumns, rows: dict[str, Any], status: Status
) -> None:
    encoded = encode(columns, rows, training=False)
    assert encoded.statuses == [status]
    assert not encoded.rows.trainable[0]
    assert {1, 2} <= set(encoded.encodings()[0].marks)  # the head needs both marks in every row
