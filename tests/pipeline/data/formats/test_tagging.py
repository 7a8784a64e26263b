"""Tags of words: at the first token of each and nowhere else; sentences that are cut, empty or tagged wrongly."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline.data.formats import Status, TaggingColumns
from tests.pipeline.data.formats.harness import Encode, one_row

NAMES = ("O", "B-person", "I-person")
COLUMNS = TaggingColumns(names=NAMES)
WORDS = ("Ada", "the", "xyz", "", "\u200d", "o'", "New York", "runs-of", "中文", " ")


def test_tags_may_be_names(encode: Encode) -> None:
    words = [["Ada", "met"], ["Ada"]]
    by_name = encode(COLUMNS, {"tokens": words, "tags": [["B-person", "O"], ["I-person"]]})
    by_number = encode(COLUMNS, {"tokens": words, "tags": [[1, 0], [2]]})
    assert by_name.rows.table.equals(by_number.rows.table)


def test_references_hold_words_tags_and_which_words_have_tokens(encode: Encode) -> None:
    rows = {"tokens": [["the", "xyz", "Ada"], ["Ada", "", "met"]], "tags": [[0, 1, 2], [1, 2, 0]]}
    encoded = encode(COLUMNS, rows, training=False)
    tags = ["O", "B-person", "I-person"]
    assert encoded.reference(0) == {"tokens": ["the", "xyz", "Ada"], "tags": tags, "words": [0, 1, 2]}
    assert encoded.reference(1)["words"] == [0, 2]  # a word without a token cannot be predicted


def test_words_behind_the_cut_are_dropped(encode: Encode) -> None:
    row = one_row(tokens=["the", "cat", "ran", "xyz", "Ada", "met"], tags=[0, 0, 0, 1, 2, 1])
    encoded = encode(COLUMNS, row, length=7, training=False)
    assert encoded.encodings()[0].marks == [-100, 0, 0, 0, 1, -100, -100]
    assert encoded.rows.truncated.tolist() == [True]
    assert encoded.reference()["words"] == [0, 1, 2, 3]
    assert encoded.reference()["tags"] == ["O", "O", "O", "B-person", "I-person", "B-person"]


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
def test_a_sentence_without_its_tags_is_not_trained_on_and_leaves_other_rows_alone(
    encode: Encode, words: list[str], tags: list[int] | None, status: Status, gold: list[str]
) -> None:
    rows = {
        "tokens": pa.array([["the"], words, ["xyz"]], pa.list_(pa.string())),
        "tags": pa.array([[0], tags, [1]], pa.list_(pa.int64())),
    }
    encoded = encode(COLUMNS, rows, training=False)
    assert encoded.statuses == [Status.KEPT, status, Status.KEPT]
    reference = encoded.reference(1)
    assert reference["tags"] == gold
    assert reference["tokens"] == words
    assert len(reference["words"]) == sum(mark != -100 for mark in encoded.encodings(1)[0].marks)
    assert encoded.reference(2)["tags"] == ["B-person"]
    assert encoded.encodings(2)[0].marks == [-100, 1, -100, -100, -100]


def test_a_word_of_a_hundred_thousand_characters_is_one_word(encode: Encode) -> None:
    rows = {"tokens": [["the", "x" * 100_000, "Ada"], ["Ada"] * 33_000], "tags": [[0, 1, 2], [1] * 33_000]}
    encoded = encode(COLUMNS, rows, length=16)
    assert encoded.encodings(0)[0].marks == [-100, 0, 1, 2, -100]  # one unknown token
    assert encoded.encodings(1)[0].marks == [-100, *[1] * 14, -100]
    assert encoded.rows.truncated.tolist() == [False, True]


@given(rows=st.lists(st.lists(st.sampled_from(WORDS), max_size=8), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_tokens_and_marks_are_those_of_words_tokenised_one_by_one(
    encode: Encode, tokenizer: Tokenizer, rows: list[list[str]]
) -> None:
    tags = [[number % len(NAMES) for number in range(len(words))] for words in rows]
    columns = {"tokens": pa.array(rows, pa.list_(pa.string())), "tags": pa.array(tags, pa.list_(pa.int64()))}
    encoded = encode(COLUMNS, columns, training=False)
    for number, words in enumerate(rows):
        expected = tokenizer.encode(words, is_pretokenized=True)
        assert encoded.labels[number] == 0
        [encoding] = encoded.encodings(number)
        assert encoding.tokens == expected.tokens
        before = [None, *expected.word_ids[:-1]]
        assert encoding.marks == [
            -100 if word is None or word == previous else tags[number][word]
            for word, previous in zip(expected.word_ids, before, strict=True)
        ]


def test_byte_level_tokenizers_encode_the_space_before_a_word(encode: Encode, byte_level: Tokenizer) -> None:
    words = ["the", "cat", "sat", "in", "naïve", "Rome"]
    encoded = encode(COLUMNS, one_row(tokens=words, tags=[0, 1, 2, 0, 1, 2]), tokenizer=byte_level)
    [encoding] = encoded.encodings()
    assert encoding.tokens == byte_level.encode(" ".join(words)).tokens
    leads = [pair for pair in zip(encoding.tokens, encoding.marks, strict=True) if pair[1] != -100]
    assert [(token.lstrip("Ġ")[0], mark) for token, mark in leads] == [
        (word[0], tag) for word, tag in zip(words, [0, 1, 2, 0, 1, 2], strict=True)
    ]
