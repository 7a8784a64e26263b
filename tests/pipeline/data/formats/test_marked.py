"""Marked words: their tokens in a text or a pair, words that are cut off, not there, or that overlap."""

from typing import Any

import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from pipeline.data.formats import CharacterMark, Labels, MarkedColumns, Status, WordMark
from pipeline.data.formats.marked import word_span
from tests.pipeline.data.formats.running import encode, encodings, statuses

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
    """A row of WiC whose marked words are the first places of `word` and `other`."""
    row = {"sentence1": first, "start1": first.find(word), "end1": first.find(word) + len(word)}
    row |= {"sentence2": second, "start2": second.find(other), "end2": second.find(other) + len(other)}
    return {name: [value] for name, value in (row | {"label": 1} | changes).items()}


def coreference(text: str, *words: tuple[int, str], label: int = 0) -> dict[str, list[Any]]:
    (index1, text1), (index2, text2) = words
    row = {
        "text": text,
        "span1_index": index1,
        "span1_text": text1,
        "span2_index": index2,
        "span2_text": text2,
    }
    return {name: [value] for name, value in (row | {"label": label}).items()}


def marked(rows: dict[str, list[Any]], columns: MarkedColumns, tokenizer: Tokenizer, **options: Any) -> str:
    """The encoding with each token's mark behind it."""
    [encoding] = encodings(encode(columns, rows, tokenizer, **options), 0, tokenizer)
    return " ".join(
        token + (f"/{mark}" if mark else "")
        for token, mark in zip(encoding.tokens, encoding.marks, strict=True)
    )


def test_every_token_of_a_word_is_marked_in_its_own_sentence(tokenizer: Tokenizer) -> None:
    rows = pair("the xyz ran", "xyz", "a cat, xyz!", "xyz")
    assert (
        marked(rows, IN_CONTEXT, tokenizer)
        == "[CLS] the x/1 ##y/1 ##z/1 ran [SEP] a cat , x/2 ##y/2 ##z/2 [UNK] [SEP]"
    )


def test_words_are_found_by_their_place_among_the_words(tokenizer: Tokenizer) -> None:
    rows = coreference("the cat saw the dog because the cat ran .", (0, "The cat"), (6, "the cat"))
    assert (
        marked(rows, COREFERENCE, tokenizer)
        == "[CLS] the/1 cat/1 saw the dog because the/2 cat/2 ran . [SEP]"
    )


@pytest.mark.parametrize(
    ("text", "words", "index", "place"),
    [
        ("the cat saw the cat", "the cat", 3, (12, 19)),
        ('saw him," he said', "him", 1, (4, 7)),  # punctuation belongs to the word that white space parts
        ("use it so it ran", "it", 0, (4, 6)),  # a number that is off by a word
        ("a cat  the\ncat", "The cat", 2, (7, 14)),  # case, and white space between the words
        ("theme the", "the", 0, (6, 9)),  # whole words only
        ("the cat", "cat", 99, (4, 7)),
        ("the cat", "the", -3, (0, 3)),
        ("the cat", "dog", 0, (0, 0)),
        ("the cat", "", 0, (0, 0)),
        ("", "cat", 0, (0, 0)),
    ],
)
def test_the_nearest_place_of_the_words_counts(
    text: str, words: str, index: int, place: tuple[int, int]
) -> None:
    assert word_span(text, words, index) == place


def test_a_token_of_both_words_is_the_shorter_ones(tokenizer: Tokenizer) -> None:
    inner = coreference("the cat saw ada", (0, "the cat"), (1, "cat"))
    assert marked(inner, COREFERENCE, tokenizer) == "[CLS] the/1 cat/2 saw ada [SEP]"
    outer = coreference("the cat saw ada", (1, "cat"), (0, "the cat saw"))
    assert marked(outer, COREFERENCE, tokenizer) == "[CLS] the/2 cat/1 saw/2 ada [SEP]"


@pytest.mark.parametrize(
    ("rows", "columns", "status"),
    [
        (pair("the cat ran", "cat", "a dog", "dog", end1=99), IN_CONTEXT, Status.MARK_NOT_FOUND),
        (pair("the cat ran", "cat", "a dog", "dog", start1=-1), IN_CONTEXT, Status.MARK_NOT_FOUND),
        (pair("the cat ran", "cat", "a dog", "dog", start2=3, end2=3), IN_CONTEXT, Status.MARK_NOT_FOUND),
        (pair("the  ran", " ", "a dog", "dog"), IN_CONTEXT, Status.MARK_NOT_FOUND),
        (pair("", "", "a dog", "dog"), IN_CONTEXT, Status.MARK_NOT_FOUND),
        (coreference("the cat ran", (0, "dog"), (1, "cat")), COREFERENCE, Status.MARK_NOT_FOUND),
        (coreference("the cat ran", (1, "cat"), (1, "cat")), COREFERENCE, Status.MARK_NOT_FOUND),
        (coreference("the cat " * 12_500 + "dog", (1, "cat"), (25_000, "dog")), COREFERENCE, Status.MARK_CUT),
        (pair("the cat " * 50, "cat", "a dog", "dog", end1=9999), IN_CONTEXT, Status.MARK_NOT_FOUND),
        (coreference("the cat ran", (0, "the"), (1, "cat"), label=-1), COREFERENCE, Status.UNLABELLED),
    ],
)
def test_a_row_without_both_words_is_not_trained_on(
    tokenizer: Tokenizer, rows: dict[str, list[Any]], columns: MarkedColumns, status: Status
) -> None:
    encoded = encode(columns, rows, tokenizer, training=False)
    assert statuses(encoded) == [status]
    assert not encoded.trainable[0]
    [encoding] = encodings(encoded, 0, tokenizer)
    assert {1, 2} <= set(encoding.marks)  # a head finds both words in every row


def test_a_lost_word_is_marked_at_the_ends_of_the_encoding(tokenizer: Tokenizer) -> None:
    rows = coreference("the cat ran", (0, "dog"), (0, "house"))
    assert marked(rows, COREFERENCE, tokenizer) == "[CLS]/1 the cat ran [SEP]/2"


def test_places_that_are_no_whole_numbers_are_refused(tokenizer: Tokenizer) -> None:
    rows = pair("the cat ran", "cat", "a dog", "dog") | {"start1": pa.array(["4"])}
    with pytest.raises(
        ValueError, match=r"column 'start1' of rows\.parquet holds string: give whole numbers"
    ):
        encode(IN_CONTEXT, rows, tokenizer)
