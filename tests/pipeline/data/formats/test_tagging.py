"""Tags of words: at the first token of each, none elsewhere; sentences cut, empty, or tagged wrongly."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline.data.formats import Status, TaggingColumns
from tests.pipeline.data.formats.running import encode, encodings, reference, statuses

NAMES = ("O", "B-person", "I-person")
COLUMNS = TaggingColumns(names=NAMES)
WORDS = ("Ada", "the", "xyz", "", "\u200d", "o'", "New York", "runs-of", "中文", " ")


def test_the_first_token_of_a_word_has_its_tag(tokenizer: Tokenizer) -> None:
    encoded = encode(COLUMNS, {"tokens": [["the", "xyz", "Ada", "met"]], "tags": [[0, 1, 2, 0]]}, tokenizer)
    [encoding] = encodings(encoded, 0, tokenizer)
    assert encoding.tokens == ["[CLS]", "the", "x", "##y", "##z", "ada", "met", "[SEP]"]
    assert encoding.marks == [-100, 0, 1, -100, -100, 2, 0, -100]
    assert encoded.table["label"].to_pylist() == [0]
    assert statuses(encoded) == [Status.KEPT]


def test_evaluation_is_told_words_tags_and_which_words_are_seen(tokenizer: Tokenizer) -> None:
    rows = {"tokens": [["the", "xyz", "Ada"], ["Ada", "", "met"]], "tags": [[0, 1, 2], [1, 2, 0]]}
    encoded = encode(COLUMNS, rows, tokenizer, training=False)
    assert reference(encoded, 0) == {
        "tokens": ["the", "xyz", "Ada"],
        "tags": ["O", "B-person", "I-person"],
        "words": [0, 1, 2],
    }
    assert reference(encoded, 1)["words"] == [0, 2]  # a word without a token cannot be predicted


def test_tags_may_be_names(tokenizer: Tokenizer) -> None:
    words = [["Ada", "met"], ["Ada"]]
    by_name = encode(COLUMNS, {"tokens": words, "tags": [["B-person", "O"], ["I-person"]]}, tokenizer)
    by_number = encode(COLUMNS, {"tokens": words, "tags": [[1, 0], [2]]}, tokenizer)
    assert by_name.table.equals(by_number.table)


def test_words_behind_the_cut_are_not_seen(tokenizer: Tokenizer) -> None:
    words = ["the", "cat", "ran", "xyz", "Ada", "met"]
    encoded = encode(
        COLUMNS, {"tokens": [words], "tags": [[0, 0, 0, 1, 2, 1]]}, tokenizer, length=7, training=False
    )
    [encoding] = encodings(encoded, 0, tokenizer)
    assert encoding.marks == [-100, 0, 0, 0, 1, -100, -100]
    assert encoded.truncated.tolist() == [True]
    told = reference(encoded, 0)
    assert told["words"] == [0, 1, 2, 3]
    assert told["tags"] == ["O", "O", "O", "B-person", "I-person", "B-person"]


@pytest.mark.parametrize(
    ("words", "tags", "status", "gold"),
    [
        ([], [], Status.NO_WORDS, []),
        (["", "\u200d"], [1, 2], Status.NO_WORDS, ["B-person", "I-person"]),
        (["Ada", "met"], None, Status.UNLABELLED, ["O", "O"]),
        (["Ada", "met"], [], Status.UNLABELLED, ["O", "O"]),
        (["Ada", "met"], [-1, -1], Status.UNLABELLED, ["O", "O"]),
        (["Ada", "met"], [1], Status.TAGS_DIFFER, ["B-person", "O"]),
        (["Ada", "met"], [1, 0, 2], Status.TAGS_DIFFER, ["B-person", "O"]),
        (["Ada", "met"], [1, -100], Status.KEPT, ["B-person", "O"]),
        (["Ada", "met"], [1, None], Status.KEPT, ["B-person", "O"]),
    ],
)
def test_a_sentence_that_cannot_be_learnt_from_stays_but_is_not_trained_on(
    tokenizer: Tokenizer, words: list[str], tags: list[int] | None, status: Status, gold: list[str]
) -> None:
    rows = {
        "tokens": pa.array([["the"], words, ["xyz"]], pa.list_(pa.string())),
        "tags": pa.array([[0], tags, [1]], pa.list_(pa.int64())),
    }
    encoded = encode(COLUMNS, rows, tokenizer, training=False)
    assert statuses(encoded) == [Status.KEPT, status, Status.KEPT]
    told = reference(encoded, 1)
    assert told["tags"] == gold
    assert told["tokens"] == words
    assert len(told["words"]) == sum(mark != -100 for mark in encodings(encoded, 1, tokenizer)[0].marks)
    assert encodings(encoded, 2, tokenizer)[0].marks == [-100, 1, -100, -100, -100]


def test_surplus_tags_do_not_reach_other_rows(tokenizer: Tokenizer) -> None:
    rows = {"tokens": [["Ada"], ["the", "cat"], ["Ada"]], "tags": [[1, 2, 2], [0], [1, 2]]}
    encoded = encode(COLUMNS, rows, tokenizer, training=False)
    assert [reference(encoded, row)["tags"] for row in range(3)] == [["B-person"], ["O", "O"], ["B-person"]]
    assert statuses(encoded) == [Status.TAGS_DIFFER] * 3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tags": [[0], [0, 3]]}, r"row 101 has tag 3, but the task's 3 tags are O, B-person, I-person"),
        ({"tags": [[0], [-2, 0]]}, r"row 101 has tag -2"),
        ({"tags": [["O"], ["O", "B-place"]]}, r"row 101 has tag 'B-place'"),
        ({"tags": [[0.5], [0.5, 0.5]]}, r"column 'tags' of rows\.parquet holds lists of double: give tags"),
        ({"tags": [0, 1]}, r"column 'tags' of rows\.parquet holds int64: give lists"),
        ({"tokens": [["a"], ["b", None]]}, r"row 101 has no 'tokens'"),
        ({"tokens": ["a", "b c"]}, r"column 'tokens' of rows\.parquet holds string: give lists"),
    ],
)
def test_a_mistake_is_told_with_its_row(tokenizer: Tokenizer, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        encode(COLUMNS, {"tokens": [["a"], ["b", "c"]], "tags": [[0], [0, 0]]} | changes, tokenizer)


def test_a_word_of_a_hundred_thousand_characters_takes_its_place(tokenizer: Tokenizer) -> None:
    long = {"tokens": [["the", "x" * 100_000, "Ada"], ["Ada"] * 33_000], "tags": [[0, 1, 2], [1] * 33_000]}
    encoded = encode(COLUMNS, long, tokenizer, length=16)
    assert encodings(encoded, 0, tokenizer)[0].marks == [-100, 0, 1, 2, -100]  # one unknown token
    assert encodings(encoded, 1, tokenizer)[0].marks == [-100, *[1] * 14, -100]
    assert encoded.truncated.tolist() == [False, True]


@given(rows=st.lists(st.lists(st.sampled_from(WORDS), max_size=8), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_words_are_found_as_when_each_is_tokenised_by_itself(
    tokenizer: Tokenizer, rows: list[list[str]]
) -> None:
    tags = [[number % len(NAMES) for number in range(len(words))] for words in rows]
    columns = {"tokens": pa.array(rows, pa.list_(pa.string())), "tags": pa.array(tags, pa.list_(pa.int64()))}
    encoded = encode(COLUMNS, columns, tokenizer, training=False)
    tokenizer.no_truncation()
    for number, (words, own) in enumerate(zip(rows, tags, strict=True)):
        expected = tokenizer.encode(words, is_pretokenized=True)
        [encoding] = encodings(encoded, number, tokenizer)
        assert encoding.tokens == expected.tokens
        leads = [None, *expected.word_ids[:-1]]
        marks = [
            -100 if word is None or word == before else own[word]
            for word, before in zip(expected.word_ids, leads, strict=True)
        ]
        assert encoding.marks == marks


def test_byte_level_tokenizers_see_the_space_before_a_word(byte_level: Tokenizer) -> None:
    rows = {"tokens": [["the", "cat", "sat", "in", "naïve", "Rome"]], "tags": [[0, 1, 2, 0, 1, 2]]}
    encoded = encode(COLUMNS, rows, byte_level)
    [encoding] = encodings(encoded, 0, byte_level)
    text = byte_level.encode("the cat sat in naïve Rome")
    assert encoding.tokens == text.tokens
    led = [token for token, mark in zip(encoding.tokens, encoding.marks, strict=True) if mark != -100]
    assert [token.lstrip("Ġ")[0] for token in led] == ["t", "c", "s", "i", "n", "R"]
    assert [mark for mark in encoding.marks if mark != -100] == [0, 1, 2, 0, 1, 2]
