"""Marked words: their tokens in a text or a pair, words that are cut off, missing or overlapping."""

from typing import Any

import pytest

from pipeline.data.formats import CharacterMark, Labels, MarkedColumns, Status, WordMark
from pipeline.data.formats.marked import word_span
from tests.pipeline.data.formats.harness import Encode, Result, one_row

LABELS = Labels(num_labels=2)
CHARACTERS = tuple(CharacterMark(text=n, start=f"start{n + 1}", end=f"end{n + 1}") for n in (0, 1))
WORDS = tuple(WordMark(text=0, index=f"index{n}", words=f"words{n}") for n in (1, 2))
WIC = MarkedColumns(texts=("text1", "text2"), marks=(CHARACTERS[0], CHARACTERS[1]), labels=LABELS)
WSC = MarkedColumns(texts=("text",), marks=(WORDS[0], WORDS[1]), labels=LABELS)
Row = dict[str, list[Any]]


def wic(text1: str, word1: str, text2: str, word2: str, **changes: Any) -> Row:
    """A row with the first occurrences of two words marked."""
    row = {"text1": text1, "start1": text1.find(word1), "end1": text1.find(word1) + len(word1)}
    row |= {"text2": text2, "start2": text2.find(word2), "end2": text2.find(word2) + len(word2)}
    return one_row(**row | {"label": 1} | changes)


def wsc(text: str, first: tuple[int, str], second: tuple[int, str], label: int = 0) -> Row:
    """A row with two marked words, each its number and text."""
    words = {"index1": first[0], "words1": first[1], "index2": second[0], "words2": second[1]}
    return one_row(text=text, label=label, **words)


def marked(encoded: Result) -> str:
    """The encoding with each token's mark behind it."""
    [encoding] = encoded.encodings()
    pairs = zip(encoding.tokens, encoding.marks, strict=True)
    return " ".join(token + (f"/{mark}" if mark else "") for token, mark in pairs)


@pytest.mark.parametrize(
    ("columns", "rows", "expected"),
    [
        (WIC, wic("the xyz", "xyz", "a cat, xyz", "cat"), "the x/1 ##y/1 ##z/1 [SEP] a cat/2 , x ##y ##z"),
        (WSC, wsc("the cat saw the cat .", (0, "The cat"), (3, "the cat")), "the/1 cat/1 saw the/2 cat/2 ."),
        # The shorter word has the common token.
        (WSC, wsc("the cat saw ada", (0, "the cat"), (1, "cat")), "the/1 cat/2 saw ada"),
        (WSC, wsc("the cat saw ada", (1, "cat"), (0, "the cat saw")), "the/2 cat/1 saw/2 ada"),
    ],
)
def test_tokens_of_words_are_marked(encode: Encode, columns: MarkedColumns, rows: Row, expected: str) -> None:
    assert marked(encode(columns, rows)) == f"[CLS] {expected} [SEP]"


def test_a_lost_word_is_marked_at_an_end_of_the_encoding(encode: Encode) -> None:
    assert marked(encode(WSC, wsc("the cat", (0, "dog"), (0, "house")))) == "[CLS]/1 the cat [SEP]/2"


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
        (WIC, wic("the cat ran", "cat", "a dog", "dog", end1=99), Status.MARK_NOT_FOUND),
        (WIC, wic("the cat ran", "cat", "a dog", "dog", start1=-1), Status.MARK_NOT_FOUND),
        (WIC, wic("the cat ran", "cat", "a dog", "dog", start2=3, end2=3), Status.MARK_NOT_FOUND),
        (WIC, wic("the  ran", " ", "a dog", "dog"), Status.MARK_NOT_FOUND),
        (WIC, wic("", "", "a dog", "dog"), Status.MARK_NOT_FOUND),
        (WIC, wic("the cat " * 50, "cat", "a dog", "dog", end1=9999), Status.MARK_NOT_FOUND),
        (WSC, wsc("the cat ran", (0, "dog"), (1, "cat")), Status.MARK_NOT_FOUND),
        (WSC, wsc("the cat ran", (1, "cat"), (1, "cat")), Status.MARK_NOT_FOUND),
        (WSC, wsc("the cat " * 99 + "dog", (1, "cat"), (198, "dog")), Status.MARK_CUT),
        (WSC, wsc("the cat ran", (0, "the"), (1, "cat"), label=-1), Status.UNLABELLED),
    ],
)
def test_a_row_without_both_words_is_not_trained_on(
    encode: Encode, columns: MarkedColumns, rows: Row, status: Status
) -> None:
    encoded = encode(columns, rows, training=False)
    assert encoded.statuses == [status]
    assert not encoded.rows.trainable[0]
    assert {1, 2} <= set(encoded.encodings()[0].marks)  # the head needs both marks in every row
