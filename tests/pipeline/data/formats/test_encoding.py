"""Assembled encodings equal the tokenizer's own; ranges of characters lead to the tokens that cover them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline.data.formats.encoding import Frame, encode_texts, tokenize

WORDS = ("the", "cat", "xyz", "naïve", "Rome,", "", " ", "\u200d", "中文", "runs-of", "😀", "e\u0301x")
TEXT = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
KINDS = pytest.mark.parametrize("kind", ["tokenizer", "byte_level"])


@pytest.fixture(scope="module")
def tokenizers(tokenizer: Tokenizer, byte_level: Tokenizer) -> dict[str, Tokenizer]:
    return {"tokenizer": tokenizer, "byte_level": byte_level}


@KINDS
@given(
    texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6),
    pairs=st.booleans(),
    length=st.integers(6, 20),
)
@settings(max_examples=80, deadline=None)
def test_texts_and_pairs_are_encoded_and_cut_as_by_the_tokenizer(
    tokenizers: dict[str, Tokenizer], kind: str, texts: list[tuple[str, str]], pairs: bool, length: int
) -> None:
    tokenizer = tokenizers[kind]
    columns = [list(column) for column in zip(*texts, strict=True)][: 1 + pairs]
    tokens = [tokenize(pa.array(column, pa.string()), tokenizer) for column in columns]
    encodings, cut = encode_texts(tokens, tokenizer, length)
    library = Tokenizer.from_str(tokenizer.to_str())
    library.enable_truncation(length, strategy="longest_first")
    expected = library.encode_batch(texts if pairs else columns[0])
    ends = np.cumsum(encodings.lengths)[:-1]
    assert [part.tolist() for part in np.split(encodings.ids, ends)] == [row.ids for row in expected]
    assert [part.tolist() for part in np.split(encodings.types, ends)] == [row.type_ids for row in expected]
    assert cut.tolist() == [bool(row.overflowing) for row in expected]
    sequences = [[-1 if number is None else number for number in row.sequence_ids] for row in expected]
    assert [part.tolist() for part in np.split(encodings.piece, ends)] == sequences


@KINDS
@given(texts=st.lists(TEXT, min_size=1, max_size=5), data=st.data())
@settings(max_examples=60, deadline=None)
def test_characters_lead_to_the_tokens_that_cover_them(
    tokenizers: dict[str, Tokenizer], kind: str, texts: list[str], data: st.DataObject
) -> None:
    tokens = tokenize(pa.array(texts, pa.string()), tokenizers[kind], spans=True)
    number = data.draw(st.integers(0, len(texts) - 1))
    start = data.draw(st.integers(0, len(texts[number]) + 3))
    end = data.draw(st.integers(start + 1, start + 12))
    [first], [last] = tokens.locate(np.array([number]), np.array([start]), np.array([end]))
    positions = range(tokens.first[number], tokens.first[number] + tokens.lengths[number])
    covering = [at for at in positions if tokens.spans[at, 0] < end and tokens.spans[at, 1] > start]
    assert list(range(first, last + 1)) == covering


def test_equal_texts_are_tokenised_once_and_share_their_tokens(tokenizer: Tokenizer) -> None:
    tokens = tokenize(pa.array(["the cat", "a dog ran", "the cat"]), tokenizer)
    assert len(tokens.ids) == 5
    assert tokens.lengths.tolist() == [2, 3, 2]
    assert tokens.first[0] == tokens.first[2]
    assert tokens.take(np.array([1, 1])).lengths.tolist() == [3, 3]


def test_a_length_without_room_for_a_token_of_each_text_is_refused(tokenizer: Tokenizer) -> None:
    frame = Frame.of(tokenizer, 2)
    assert frame.room(5) == 2
    with pytest.raises(
        ValueError, match=r"max_seq_length 4 is too short for 2 text\(s\) a row: use 5 or more"
    ):
        frame.room(4)
