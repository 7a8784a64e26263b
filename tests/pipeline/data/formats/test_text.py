"""Texts and pairs with a label: their encodings, statuses, and MultiRC's references."""

import pytest

from pipeline.data.formats import Labels, Status, TextColumns, texts_per_encoding
from tests.pipeline.data.formats.harness import Encode

TWO = Labels(num_labels=2)
SINGLE = TextColumns(texts=("text",), labels=TWO)
PAIR = TextColumns(texts=("text", "{question} {answer}"), labels=TWO)


def test_a_row_is_one_encoding_with_its_label(encode: Encode) -> None:
    encoded = encode(SINGLE, {"text": ["the cat sat", "xyz"], "label": [1, 0]})
    assert [encoding.text for encoding in encoded.encodings(1)] == ["[CLS] x ##y ##z [SEP]"]
    assert encoded.labels == [1, 0]
    assert encoded.rows.table["encoding_lengths"].to_pylist() == [[5], [5]]
    assert encoded.rows.table["token_marks"].to_pylist() == [[], []]
    assert encoded.rows.trainable.all()
    assert encoded.rows.report() == {}


def test_a_template_makes_the_second_text_of_a_pair(encode: Encode) -> None:
    rows = {"text": ["the cat ran"], "question": ["who ran"], "answer": ["a dog"], "label": [0]}
    [encoding] = encode(PAIR, rows).encodings()
    assert encoding.text == "[CLS] the cat ran [SEP] who ran a dog [SEP]"
    assert encoding.types == [0] * 5 + [1] * 5
    assert (texts_per_encoding(SINGLE), texts_per_encoding(PAIR)) == (1, 2)


@pytest.mark.parametrize(
    ("texts", "labels", "statuses", "report"),
    [
        (["the", "a"], [0, -1], [Status.KEPT, Status.UNLABELLED], {"unlabelled": 1}),
        (["", " \u200d\n"], [0, 1], [Status.EMPTY_TEXT, Status.EMPTY_TEXT], {"empty_text": 2}),
        (["", "a"], [-1, 1], [Status.UNLABELLED, Status.KEPT], {"unlabelled": 1}),
    ],
)
def test_a_row_without_label_is_not_trained_on_and_one_without_text_is(
    encode: Encode, texts: list[str], labels: list[int], statuses: list[Status], report: dict[str, int]
) -> None:
    encoded = encode(SINGLE, {"text": texts, "label": labels}, training=False)
    assert encoded.statuses == statuses
    assert encoded.labels == labels
    assert encoded.rows.report() == report
    assert encoded.rows.trainable.tolist() == [label != -1 for label in labels]
    assert (encoded.encodings()[0].text == "[CLS] [SEP]") == (texts[0] == "")


def test_a_very_long_text_is_cut_and_counted(encode: Encode) -> None:
    rows = {
        "text": ["the cat " * 9_000, "the"],
        "question": ["who"] * 2,
        "answer": ["a dog"] * 2,
        "label": [0, 1],
    }
    encoded = encode(PAIR, rows, length=32)
    assert encoded.rows.truncated.tolist() == [True, False]
    [encoding] = encoded.encodings()
    assert len(encoding.tokens) == 32
    assert encoding.tokens[-4:] == ["who", "a", "dog", "[SEP]"]


def test_references_name_the_question_of_a_row(encode: Encode) -> None:
    columns = TextColumns(texts=("text",), labels=TWO, question=("idx.paragraph", "idx.question"))
    idx = [{"paragraph": 3, "question": question, "answer": 0} for question in (5, 5, 6)]
    rows = {"text": ["the", "the", "a"], "label": [0, 1, 0], "idx": idx}
    evaluated = encode(columns, rows, training=False)
    # The first two are equal in all ids, and still count as two rows.
    assert [evaluated.reference(row)["question"] for row in range(3)] == [[3, 5], [3, 5], [3, 6]]
    assert encode(columns, rows).rows.table["reference"].null_count == 3
    assert encode(SINGLE, rows, training=False).rows.table["reference"].null_count == 3


def test_a_regression_keeps_its_values(encode: Encode) -> None:
    columns = TextColumns(texts=("text",), labels=Labels(value_range=(0, 5)))
    encoded = encode(columns, {"text": ["the", "a"], "label": [4.75, -1.0]})
    assert encoded.labels == [4.75, -1.0]
    assert encoded.statuses == [Status.KEPT, Status.UNLABELLED]
