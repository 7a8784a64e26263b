"""Texts and pairs with a label: their encodings, statuses, and MultiRC's references."""

from pipeline.data.formats import Labels, Status, TextColumns
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
    encoded = encode(PAIR, rows, length=10)
    [encoding] = encoded.encodings()
    assert encoding.text == "[CLS] the cat ran [SEP] who ran a dog [SEP]"
    assert encoding.types == [0] * 5 + [1] * 5
    assert encoded.rows.truncated.tolist() == [False]
    assert encode(PAIR, rows, length=9).rows.truncated.tolist() == [True]


def test_a_row_without_label_is_not_trained_on_and_one_without_text_is(encode: Encode) -> None:
    rows = {"text": ["the", "a", "", " \u200d\n", ""], "label": [0, -1, 0, 1, -1]}
    encoded = encode(SINGLE, rows, training=False)
    empty, unlabelled = Status.EMPTY_TEXT, Status.UNLABELLED
    assert encoded.statuses == [Status.KEPT, unlabelled, empty, empty, unlabelled]
    assert encoded.labels == [0, -1, 0, 1, -1]
    assert encoded.rows.report() == {"unlabelled": 2, "empty_text": 2}
    assert encoded.rows.trainable.tolist() == [True, False, True, True, False]
    assert [encoded.encodings(row)[0].text for row in (2, 3)] == ["[CLS] [SEP]"] * 2


def test_references_name_the_question_of_a_row(encode: Encode) -> None:
    columns = TextColumns(texts=("text",), labels=TWO, question=("idx.paragraph", "idx.question"))
    idx = [{"paragraph": 3, "question": question, "answer": 0} for question in (5, 5, 6)]
    rows = {"text": ["the", "the", "a"], "label": [0, 1, 0], "idx": idx}
    evaluated = encode(columns, rows, training=False)
    # The first two are equal in all ids, and still count as two rows.
    assert [evaluated.reference(row)["question"] for row in range(3)] == [[3, 5], [3, 5], [3, 6]]
    assert encode(columns, rows).rows.table["reference"].null_count == 3
    assert encode(SINGLE, rows, training=False).rows.table["reference"].null_count == 3
