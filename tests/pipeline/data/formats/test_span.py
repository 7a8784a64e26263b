"""Questions over windows of a context: no token is left out, and marks lead back to the answer's text."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline.data.formats import SpanColumns, Status
from pipeline.data.formats.span import first_inside, keep_windows
from tests.pipeline.data.formats.harness import Encode, Result

COLUMNS = SpanColumns(stride=4)
WORDS = ("the", "cat", "xyz", "Rome,", "ada", "\u200d", "runs-of", "naïve", "so.", "中文", "1755")


def row(context: str, *answers: str, question: str = "who ran ?") -> dict[str, Any]:
    gold = pa.array([answers], pa.list_(pa.string()))
    return {"question": [question], "context": [context], "answers": gold}


def marked_texts(encoded: Result, number: int = 0) -> list[str | None]:
    """The answer of each window according to its marks; None for no answer."""
    reference = encoded.reference(number)
    spans = iter(reference["spans"])
    texts: list[str | None] = []
    for encoding in encoded.encodings(number):
        allowed = [(mark, next(spans)) for mark in encoding.marks if mark != -100]
        assert allowed[0] in ((0, [-1, -1]), (3, [-1, -1]))
        [begin] = [span[0] for mark, span in allowed if mark in (1, 3)]
        [end] = [span[1] for mark, span in allowed if mark in (2, 3)]
        texts.append(None if begin == -1 else reference["context"][begin:end])
    assert next(spans, None) is None
    return texts


def test_a_short_context_is_one_window(encode: Encode) -> None:
    encoded = encode(COLUMNS, row("the xyz ran in rome .", "xyz ran"), training=False)
    [encoding] = encoded.encodings()
    assert encoding.text == "[CLS] who ran ? [SEP] the x ##y ##z ran in rome . [SEP]"
    assert encoding.types == [0] * 5 + [1] * 9
    assert encoding.marks == [0, *[-100] * 4, 0, 1, 0, 0, 2, 0, 0, 0, -100]
    assert encoded.labels == [0]
    assert encoded.reference()["answers"] == ["xyz ran"]
    assert encoded.reference()["spans"][:4] == [[-1, -1], [0, 3], [4, 5], [5, 6]]
    assert marked_texts(encoded) == ["xyz ran"]


def test_an_answer_of_one_token_or_less_marks_the_token_as_both_ends(encode: Encode) -> None:
    for answer in ("Ada", "da"):
        encoded = encode(COLUMNS, row("ada ran", answer), training=False)
        assert encoded.encodings()[0].marks == [0, *[-100] * 4, 3, 0, -100]
        assert marked_texts(encoded) == ["ada"]


def test_a_window_without_the_complete_answer_points_at_its_first_token(encode: Encode) -> None:
    context = "the cat sat in the house and the dog ran so ada met xyz because"
    encoded = encode(COLUMNS, row(context, "ada met"), length=14, training=False)
    windows = encoded.encodings()
    assert len(windows) > 2
    for window, text in zip(windows, marked_texts(encoded), strict=True):
        complete = "ada met" in window.text
        assert window.text.startswith("[CLS] who ran ? [SEP] ")
        assert text == ("ada met" if complete else None)
        assert (window.marks[0] == 3) != complete
    assert encoded.statuses == [Status.KEPT]
    assert encoded.rows.truncated.tolist() == [False]


def test_a_windows_answer_is_the_first_that_it_contains(encode: Encode) -> None:
    context = "rome " + "the cat " * 8 + "paris " + "a dog " * 8 + "rome paris"
    texts = marked_texts(encode(COLUMNS, row(context, "paris", "rome"), length=20, training=False))
    assert texts[0] == "rome"
    assert texts[-1] == "paris"
    assert None in texts


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        (row("the cat ran"), Status.MISSING_ANSWER),
        (row("the cat ran", "", " "), Status.MISSING_ANSWER),
        (row("the cat ran", "dog"), Status.ANSWER_NOT_FOUND),
        (row("", "dog"), Status.ANSWER_NOT_FOUND),
        (row("the \u200d ran", "\u200d"), Status.ANSWER_NOT_FOUND),
        (row("the cat " * 20, "the cat " * 15 + "the cat"), Status.ANSWER_CUT),
        (row("the cat ran", "cat", question=""), Status.EMPTY_TEXT),
    ],
)
def test_a_question_without_its_answer_is_not_trained_on(
    encode: Encode, rows: dict[str, Any], status: Status
) -> None:
    encoded = encode(COLUMNS, rows, length=20, training=False)
    trained = status <= Status.EMPTY_TEXT
    assert encoded.statuses == [status]
    assert encoded.rows.trainable[0] == trained
    assert (set(marked_texts(encoded)) == {None}) == (not trained)
    assert encoded.rows.report() == {status.name.lower(): 1}


SQUAD = [{"text": text, "answer_start": [4] * len(text)} for text in (["cat"], [], ["dog"])]


@pytest.mark.parametrize("answers", [[*SQUAD, None], [["cat"], [], ["dog"], None], ["cat", "", "dog", None]])
def test_a_question_without_an_answer_is_trained_on_in_a_set_with_such_questions(
    encode: Encode, answers: list[Any]
) -> None:
    contexts = ["the cat ran", "the cat sat in the house and the dog ran so ada met", "ada ran", "ada ran"]
    rows = {"question": ["who ran ?"] * 4, "context": contexts, "answers": answers}
    encoded = encode(SpanColumns(stride=4, unanswerable=True), rows, length=14, training=False)
    missing = [Status.ANSWER_NOT_FOUND, Status.MISSING_ANSWER]
    assert encoded.statuses == [Status.KEPT, Status.UNANSWERABLE, *missing]
    assert encoded.rows.trainable.tolist() == [True, True, False, False]
    assert marked_texts(encoded, 1) == [None] * 3
    assert encode(SpanColumns(), rows).statuses[1] == Status.MISSING_ANSWER


def test_rows_do_not_mix(encode: Encode) -> None:
    rows: dict[str, list[Any]] = {
        "question": ["who ?", "what", "where is", "what ?"],
        "context": ["the cat ran", "", "a dog sat in rome " * 9, "the cat ran"],
        "answers": [["cat"], ["cat"], ["rome"], ["ran"]],
    }
    encoded = encode(COLUMNS, rows, length=24, training=False)
    assert encoded.statuses == [Status.KEPT, Status.ANSWER_NOT_FOUND, Status.KEPT, Status.KEPT]
    for index, expected in enumerate(encoded.rows.table.to_pylist()):
        alone = {name: values[index : index + 1] for name, values in rows.items()}
        assert encode(COLUMNS, alone, length=24, training=False).rows.table.to_pylist() == [expected]


def test_a_long_question_leaves_half_of_the_room_to_the_context(encode: Encode) -> None:
    encoded = encode(COLUMNS, row("the cat ran", "cat", question="who " * 9_000), length=23)
    assert encoded.encodings()[0].tokens == ["[CLS]", *["who"] * 10, "[SEP]", "the", "cat", "ran", "[SEP]"]
    assert encoded.rows.truncated.tolist() == [True]
    short = encode(SpanColumns(max_question_tokens=2), row("the cat ran", "cat"))
    assert short.encodings()[0].tokens[:4] == ["[CLS]", "who", "ran", "[SEP]"]


def test_a_very_long_context_is_trained_on_in_a_few_windows(encode: Encode) -> None:
    rows = row("the cat sat " * 1_000 + "in rome " + "a dog ran " * 100, "rome")
    trained = encode(COLUMNS, rows)
    windows = trained.encodings()
    assert len(windows) == 8
    assert trained.rows.truncated.tolist() == [True]
    assert any(window.marks[0] == 0 for window in windows)  # those with the answer come first,
    assert windows[0].tokens[5:8] == ["the", "cat", "sat"]  # the others from the beginning, in order
    evaluated = encode(COLUMNS, rows, training=False)
    assert len(evaluated.encodings()) > 50
    assert "rome" in marked_texts(evaluated)
    assert evaluated.rows.truncated.tolist() == [False]


@given(data=st.data(), words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=60))
@settings(max_examples=80, deadline=None)
def test_marks_lead_back_to_the_answer_and_no_token_is_left_out(
    encode: Encode, tokenizer: Tokenizer, data: st.DataObject, words: list[str]
) -> None:
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, min(first + 6, len(words) - 1)))
    context, answer = " ".join(words), " ".join(words[first : last + 1])
    begin = len(" ".join(words[:first])) + (first > 0)
    rows = row(context) | {"answers": [{"text": [answer], "answer_start": [begin]}]}
    length = data.draw(st.integers(9, 40))
    columns = SpanColumns(stride=data.draw(st.integers(0, 20)))
    encoded = encode(columns, rows, length=length, training=False)
    spans = tokenizer.encode(context, add_special_tokens=False).offsets
    assert {tuple(span) for span in encoded.reference()["spans"]} - {(-1, -1)} == set(spans)
    # Characters without a token cannot be marked: the expected text ends where the tokens do.
    covering = [span for span in spans if span[0] < begin + len(answer) and span[1] > begin]
    expected = context[covering[0][0] : covering[-1][1]] if covering else None
    texts = set(marked_texts(encoded))
    assert texts <= {expected, None}
    assert (expected in texts and bool(covering)) == encoded.rows.trainable[0]
    assert (encoded.statuses == [Status.ANSWER_NOT_FOUND]) == (not covering)
    if covering and len(covering) <= min(columns.stride, (length - 6) // 2):
        assert encoded.rows.trainable[0]  # some window contains an answer that is no longer than the stride


@given(length=st.integers(0, 120), stride=st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_windows_are_those_of_the_tokenizers_library(
    encode: Encode, tokenizer: Tokenizer, length: int, stride: int
) -> None:
    library = Tokenizer.from_str(tokenizer.to_str())
    library.enable_truncation(30, stride=min(stride, 12), strategy="only_second")  # half of a window of 25
    first = library.encode("who ran", "the " * length)
    encoded = encode(SpanColumns(stride=stride), row("the " * length, question="who ran"), length=30)
    expected = [window.tokens for window in (first, *first.overflowing)]
    assert [window.tokens for window in encoded.encodings()] == expected[:8]


def test_the_first_span_within_a_window_is_its_answer() -> None:
    windows = np.array([[0, 0, 6], [0, 5, 11], [1, 10, 20], [2, 20, 30]]).T  # row, begin, end
    spans = np.array([[0, 5, 6], [0, 8, 9], [0, 1, 2], [2, 25, 29]]).T  # row, first, last
    # The first span crosses the end of the first window.
    assert first_inside(*windows, *spans).tolist() == [2, 0, -1, 3]


def test_windows_with_the_answer_are_kept_before_others() -> None:
    row = np.array([0, 0, 0, 0, 1, 2, 2])
    answered = np.array([False, False, True, True, False, False, True])
    assert keep_windows(row, answered, 3).tolist() == [True, False, True, True, True, True, True]
    assert keep_windows(row, answered, 1).tolist() == [False, False, True, False, True, False, True]
