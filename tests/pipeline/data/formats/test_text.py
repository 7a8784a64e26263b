"""Texts and pairs with a label: what is encoded, what is not trained on, and what MultiRC's metric is told."""

import pytest
from tokenizers import Tokenizer

from pipeline.data.formats import Labels, Status, TextColumns, encode_rows, texts_per_encoding
from pipeline.data.formats.source import Origin
from tests.pipeline.data.formats.running import encode, encodings, reference, statuses

SINGLE = TextColumns(texts=("text",), labels=Labels(num_labels=2))
PAIR = TextColumns(texts=("text", "{question} {answer}"), labels=Labels(num_labels=2))


def test_a_row_is_one_encoding_with_its_label(tokenizer: Tokenizer) -> None:
    encoded = encode(SINGLE, {"text": ["the cat sat", "xyz"], "label": [1, 0]}, tokenizer)
    assert [encoding.tokens for encoding in encodings(encoded, 1, tokenizer)] == [
        ["[CLS]", "x", "##y", "##z", "[SEP]"]
    ]
    assert encoded.table["label"].to_pylist() == [1, 0]
    assert encoded.table["encoding_lengths"].to_pylist() == [[5], [5]]
    assert encoded.table["token_marks"].to_pylist() == [[], []]
    assert encoded.trainable.all()
    assert encoded.report() == {}


def test_a_template_makes_the_second_text_of_a_pair(tokenizer: Tokenizer) -> None:
    rows = {"text": ["the cat ran"], "question": ["who ran"], "answer": ["a dog"], "label": [0]}
    [encoding] = encodings(encode(PAIR, rows, tokenizer), 0, tokenizer)
    assert " ".join(encoding.tokens) == "[CLS] the cat ran [SEP] who ran a dog [SEP]"
    assert encoding.types == [0] * 5 + [1] * 5
    assert (texts_per_encoding(SINGLE), texts_per_encoding(PAIR)) == (1, 2)


def test_a_row_without_label_stays_but_is_not_trained_on(tokenizer: Tokenizer) -> None:
    encoded = encode(SINGLE, {"text": ["the", "cat", "sat"], "label": [0, -1, 1]}, tokenizer, training=False)
    assert statuses(encoded) == [Status.KEPT, Status.UNLABELLED, Status.KEPT]
    assert encoded.trainable.tolist() == [True, False, True]
    assert encoded.table["label"].to_pylist() == [0, -1, 1]
    assert encoded.report() == {"unlabelled": 1}


def test_an_empty_text_is_special_tokens_alone_and_counted(tokenizer: Tokenizer) -> None:
    encoded = encode(SINGLE, {"text": ["", " \u200d\n", "the"], "label": [0, 1, 1]}, tokenizer)
    assert statuses(encoded) == [Status.EMPTY_TEXT, Status.EMPTY_TEXT, Status.KEPT]
    assert [encodings(encoded, row, tokenizer)[0].tokens for row in (0, 1)] == [["[CLS]", "[SEP]"]] * 2
    assert encoded.trainable.all()
    assert encoded.report() == {"empty_text": 2}


def test_a_very_long_text_is_cut_and_counted(tokenizer: Tokenizer) -> None:
    long = "the cat " * 12_500
    rows = {"text": [long, "the"], "question": ["who", "who"], "answer": ["a dog", "a dog"], "label": [0, 1]}
    encoded = encode(PAIR, rows, tokenizer, length=32)
    assert encoded.truncated.tolist() == [True, False]
    [encoding] = encodings(encoded, 0, tokenizer)
    assert len(encoding.tokens) == 32
    assert encoding.tokens[-4:] == ["who", "a", "dog", "[SEP]"]


def test_rows_of_one_question_say_so_in_evaluation(tokenizer: Tokenizer) -> None:
    columns = TextColumns(
        texts=("text",), labels=Labels(num_labels=2), question=("idx.paragraph", "idx.question")
    )
    rows = {
        "text": ["the", "the", "a"],
        "label": [0, 1, 0],
        "idx": [{"paragraph": 3, "question": question, "answer": 0} for question in (5, 5, 6)],
    }
    evaluated = encode(columns, rows, tokenizer, training=False)
    # The first two have the same ids throughout: each counts for itself all the same.
    assert [reference(evaluated, row) for row in range(3)] == [
        {"question": [3, 5]},
        {"question": [3, 5]},
        {"question": [3, 6]},
    ]
    assert encode(columns, rows, tokenizer).table["reference"].null_count == 3
    assert encode(SINGLE, rows, tokenizer, training=False).table["reference"].null_count == 3


def test_a_regression_keeps_its_values(tokenizer: Tokenizer) -> None:
    columns = TextColumns(texts=("text",), labels=Labels(value_range=(0, 5)))
    encoded = encode(columns, {"text": ["the", "a"], "label": [4.75, -1.0]}, tokenizer)
    assert encoded.table["label"].to_pylist() == [4.75, -1.0]
    assert statuses(encoded) == [Status.KEPT, Status.UNLABELLED]


def test_no_rows_are_no_rows(tokenizer: Tokenizer) -> None:
    import pyarrow as pa

    table = pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.int64())})
    encoded = encode_rows(
        table, SINGLE, tokenizer, 16, for_training=True, origin=Origin("toy", "rows.parquet", [])
    )
    assert encoded.table.num_rows == 0


def test_a_mistake_is_told_with_the_rows_own_number(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match=r"task 'toy': rows\.parquet, row 101 has no 'text'"):
        encode(SINGLE, {"text": ["the", None], "label": [0, 1]}, tokenizer)
