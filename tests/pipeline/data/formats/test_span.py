"""Questions over windows of a context: every token is seen, and marks lead back to the answer's text."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

from pipeline.data.formats import EncodedRows, SpanColumns, Status
from pipeline.data.formats.windows import cut_windows, first_inside, keep_windows
from tests.pipeline.data.formats.running import encode, encodings, reference, statuses

COLUMNS = SpanColumns(stride=4)
WORDS = ("the", "cat", "xyz", "Rome,", "ada", "\u200d", "runs-of", "naïve", "so.", "中文", "1755")


def rows(context: str, *answers: str, question: str = "who ran ?") -> dict[str, Any]:
    return {
        "question": [question],
        "context": [context],
        "answers": pa.array([answers], pa.list_(pa.string())),
    }


def marked_text(encoded: EncodedRows, row: int, tokenizer: Tokenizer) -> list[str | None]:
    """What each window's marks say the answer is; None for "not here"."""
    told = reference(encoded, row)
    spans = iter(told["spans"])
    texts: list[str | None] = []
    for encoding in encodings(encoded, row, tokenizer):
        allowed = [(mark, next(spans)) for mark in encoding.marks if mark != -100]
        assert allowed[0] in ((0, [-1, -1]), (3, [-1, -1]))
        begins = [span[0] for mark, span in allowed if mark in (1, 3)]
        ends = [span[1] for mark, span in allowed if mark in (2, 3)]
        assert len(begins) == len(ends) == 1
        texts.append(None if begins == [-1] else told["context"][begins[0] : ends[0]])
    assert next(spans, None) is None
    return texts


def test_a_short_context_is_one_window(tokenizer: Tokenizer) -> None:
    encoded = encode(COLUMNS, rows("the xyz ran in rome .", "xyz ran"), tokenizer, training=False)
    [encoding] = encodings(encoded, 0, tokenizer)
    assert " ".join(encoding.tokens) == "[CLS] who ran ? [SEP] the x ##y ##z ran in rome . [SEP]"
    assert encoding.types == [0] * 5 + [1] * 9
    assert encoding.marks == [0, *[-100] * 4, 0, 1, 0, 0, 2, 0, 0, 0, -100]
    assert encoded.table["label"].to_pylist() == [0]
    told = reference(encoded, 0)
    assert told["answers"] == ["xyz ran"]
    assert told["spans"][:4] == [[-1, -1], [0, 3], [4, 5], [5, 6]]
    assert marked_text(encoded, 0, tokenizer) == ["xyz ran"]


def test_an_answer_of_one_token_is_both_ends(tokenizer: Tokenizer) -> None:
    [encoding] = encodings(encode(COLUMNS, rows("ada ran", "Ada"), tokenizer), 0, tokenizer)
    assert encoding.marks == [0, *[-100] * 4, 3, 0, -100]


def test_a_window_without_the_whole_answer_says_so(tokenizer: Tokenizer) -> None:
    context = "the cat sat in the house and the dog ran so ada met xyz because"
    encoded = encode(COLUMNS, rows(context, "ada met"), tokenizer, length=14, training=False)
    windows = encodings(encoded, 0, tokenizer)
    assert len(windows) > 2
    assert all(window.tokens[:5] == ["[CLS]", "who", "ran", "?", "[SEP]"] for window in windows)
    for window, text in zip(windows, marked_text(encoded, 0, tokenizer), strict=True):
        whole = "ada met" in " ".join(window.tokens)
        assert text == ("ada met" if whole else None)
        assert (window.marks[0] == 3) != whole
    assert statuses(encoded) == [Status.KEPT]
    assert encoded.truncated.tolist() == [False]


def test_each_window_learns_the_first_of_the_answers_that_it_holds(tokenizer: Tokenizer) -> None:
    context = "rome " + "the cat " * 8 + "paris " + "a dog " * 8 + "rome paris"
    encoded = encode(COLUMNS, rows(context, "paris", "rome"), tokenizer, length=20, training=False)
    texts = marked_text(encoded, 0, tokenizer)
    assert texts[0] == "rome"
    assert texts[-1] == "paris"
    assert None in texts


def test_a_place_within_a_token_takes_the_whole_token(tokenizer: Tokenizer) -> None:
    encoded = encode(COLUMNS, rows("the house ran", "us"), tokenizer, training=False)
    assert marked_text(encoded, 0, tokenizer) == ["house"]


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (rows("the cat ran"), Status.MISSING_ANSWER),
        (rows("the cat ran", "", " "), Status.MISSING_ANSWER),
        (rows("the cat ran", "dog"), Status.ANSWER_NOT_FOUND),
        (rows("", "dog"), Status.ANSWER_NOT_FOUND),
        (rows("the \u200d ran", "\u200d"), Status.ANSWER_NOT_FOUND),
        (rows("the cat " * 20, "the cat " * 15 + "the cat"), Status.ANSWER_CUT),
        (rows("the cat ran", "cat", question=""), Status.EMPTY_TEXT),
    ],
)
def test_a_question_without_its_answer_stays_but_is_not_trained_on(
    tokenizer: Tokenizer, row: dict[str, Any], status: Status
) -> None:
    encoded = encode(COLUMNS, row, tokenizer, length=20, training=False)
    assert statuses(encoded) == [status]
    assert encoded.trainable[0] == status.trained
    assert (set(marked_text(encoded, 0, tokenizer)) == {None}) == (not status.trained)
    assert encoded.report() == {status.name.lower(): 1}


def test_questions_without_an_answer_are_trained_on_where_a_set_has_them(tokenizer: Tokenizer) -> None:
    contexts = [
        "the cat ran",
        "the cat sat in the house and the dog ran so ada met xyz",
        "ada ran",
        "ada ran",
    ]
    table = {
        "question": ["who ran ?"] * 4,
        "context": contexts,
        "answers": [
            {"text": ["cat"], "answer_start": [4]},
            {"text": [], "answer_start": []},
            {"text": ["dog"], "answer_start": [0]},
            None,
        ],
    }
    columns = SpanColumns(stride=4, unanswerable=True)
    encoded = encode(columns, table, tokenizer, length=14, training=False)
    assert statuses(encoded) == [
        Status.KEPT,
        Status.UNANSWERABLE,
        Status.ANSWER_NOT_FOUND,
        Status.MISSING_ANSWER,
    ]
    assert encoded.trainable.tolist() == [True, True, False, False]
    windows = marked_text(encoded, 1, tokenizer)
    assert len(windows) > 1
    assert set(windows) == {None}
    assert statuses(encode(SpanColumns(), table, tokenizer, training=False))[1] == Status.MISSING_ANSWER
    blank = rows("the cat ran") | {
        "answers": ["", None],
        "question": ["who ?"] * 2,
        "context": ["the cat"] * 2,
    }
    assert statuses(encode(columns, blank, tokenizer)) == [Status.UNANSWERABLE, Status.MISSING_ANSWER]


def test_rows_do_not_mix(tokenizer: Tokenizer) -> None:
    contexts = ["the cat ran", "", "a dog sat in rome " * 9, "the cat ran"]
    answers = [["cat"], ["cat"], ["rome"], ["ran"]]
    many: dict[str, list[Any]] = {
        "question": ["who ?", "what", "where is", "what ?"],
        "context": contexts,
        "answers": answers,
    }
    encoded = encode(COLUMNS, many, tokenizer, length=24, training=False)
    assert statuses(encoded) == [Status.KEPT, Status.ANSWER_NOT_FOUND, Status.KEPT, Status.KEPT]
    for index in range(4):
        alone = {name: values[index : index + 1] for name, values in many.items()}
        expected = encode(COLUMNS, alone, tokenizer, length=24, training=False)
        assert encoded.table.slice(index, 1).to_pylist() == expected.table.to_pylist()


def test_a_long_question_leaves_half_of_the_room_to_the_context(tokenizer: Tokenizer) -> None:
    encoded = encode(COLUMNS, rows("the cat ran", "cat", question="who " * 50_000), tokenizer, length=23)
    windows = encodings(encoded, 0, tokenizer)
    assert windows[0].tokens == ["[CLS]", *["who"] * 10, "[SEP]", "the", "cat", "ran", "[SEP]"]
    assert encoded.truncated.tolist() == [True]
    few = SpanColumns(max_question_tokens=2)
    short = encode(few, rows("the cat ran", "cat"), tokenizer)
    assert encodings(short, 0, tokenizer)[0].tokens[:4] == ["[CLS]", "who", "ran", "[SEP]"]


def test_a_context_of_a_hundred_thousand_characters_is_trained_on_in_a_few_windows(
    tokenizer: Tokenizer,
) -> None:
    context = "the cat sat " * 8_000 + "in rome " + "a dog ran " * 500
    row = rows(context, "rome")
    trained = encode(COLUMNS, row, tokenizer, length=64)
    windows = encodings(trained, 0, tokenizer)
    assert len(windows) == 8
    assert trained.truncated.tolist() == [True]
    assert sum(window.marks[0] == 0 for window in windows) >= 1  # the answer's windows come first
    assert windows[0].tokens[5:8] == ["the", "cat", "sat"]  # the others from the beginning, in order
    evaluated = encode(COLUMNS, row, tokenizer, length=64, training=False)
    assert len(encodings(evaluated, 0, tokenizer)) > 400
    assert "rome" in marked_text(evaluated, 0, tokenizer)
    assert evaluated.truncated.tolist() == [False]


def test_a_tokenizer_without_a_first_token_is_refused(tokenizer: Tokenizer) -> None:
    bare = Tokenizer.from_str(tokenizer.to_str())
    bare.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    with pytest.raises(ValueError, match=r"task 'toy': the tokenizer sets no token before a text"):
        encode(COLUMNS, rows("the cat", "cat"), bare)


def test_no_rows_are_no_rows(tokenizer: Tokenizer) -> None:
    none = pa.array([], pa.string())
    empty = {"question": none, "context": none, "answers": pa.array([], pa.list_(pa.string()))}
    assert encode(COLUMNS, empty, tokenizer, training=False).table.num_rows == 0


@given(data=st.data(), words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=60))
@settings(max_examples=150, deadline=None)
def test_marks_lead_back_to_the_answer_and_no_token_is_left_out(
    tokenizer: Tokenizer, data: st.DataObject, words: list[str]
) -> None:
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, min(first + 6, len(words) - 1)))
    context, answer = " ".join(words), " ".join(words[first : last + 1])
    begin = len(" ".join(words[:first])) + (first > 0)
    row = rows(context) | {"answers": [{"text": [answer], "answer_start": [begin]}]}
    length = data.draw(st.integers(9, 40))
    columns = SpanColumns(stride=data.draw(st.integers(0, 20)))
    encoded = encode(columns, row, tokenizer, length=length, training=False)
    told = reference(encoded, 0)
    spans = tokenizer.encode(context, add_special_tokens=False).offsets
    assert {tuple(span) for span in told["spans"]} - {(-1, -1)} == set(spans)
    # Characters without a token cannot be marked: they are cut from the ends of what is expected.
    held = [span for span in spans if span[0] < begin + len(answer) and span[1] > begin]
    expected = context[held[0][0] : held[-1][1]] if held else None
    texts = set(marked_text(encoded, 0, tokenizer))
    assert texts <= {expected, None}
    assert (expected in texts and bool(held)) == encoded.trainable[0]
    assert (Status(encoded.status[0]) == Status.ANSWER_NOT_FOUND) == (not held)
    if held and len(held) <= min(columns.stride, (length - 6) // 2):
        assert encoded.trainable[0]  # an answer no longer than the stride is whole in some window


@given(
    lengths=st.lists(st.integers(0, 200), min_size=1, max_size=5),
    room=st.integers(1, 50),
    stride=st.integers(0, 60),
)
@settings(max_examples=200, deadline=None)
def test_windows_share_the_stride_and_leave_nothing_out(lengths: list[int], room: int, stride: int) -> None:
    row, first, size = cut_windows(np.array(lengths), np.full(len(lengths), room), stride)
    shared = min(stride, room // 2)
    for number, length in enumerate(lengths):
        begins, sizes = first[row == number], size[row == number]
        seen = [
            token for begin, own in zip(begins, sizes, strict=True) for token in range(begin, begin + own)
        ]
        assert set(seen) == set(range(length))
        assert (sizes <= room).all()
        assert (sizes[:-1] == room).all()
        assert (begins[1:] + shared == begins[:-1] + sizes[:-1]).all()
        assert len(begins) == 1 or sizes[-1] > shared  # the last one brings something new
    assert (np.diff(row) >= 0).all()
    assert set(row) == set(range(len(lengths)))


@given(length=st.integers(0, 120), stride=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_windows_are_those_of_the_tokenizers_library(tokenizer: Tokenizer, length: int, stride: int) -> None:
    library = Tokenizer.from_str(tokenizer.to_str())
    library.enable_truncation(30, stride=stride, strategy="only_second")
    whole = library.encode("who ran", "the " * length)
    expected = [window.ids for window in (whole, *whole.overflowing)]
    encoded = encode(
        SpanColumns(stride=stride), rows("the " * length, question="who ran"), tokenizer, length=30
    )
    got = encodings(encoded, 0, tokenizer)
    assert [[tokenizer.token_to_id(token) for token in window.tokens] for window in got] == expected[:8]


def test_the_first_place_within_a_window_is_its_answer() -> None:
    chosen = first_inside(
        window_row=np.array([0, 0, 1, 2]),
        begin=np.array([0, 5, 10, 20]),
        end=np.array([6, 11, 20, 30]),
        place_row=np.array([0, 0, 0, 2]),
        place_first=np.array([5, 8, 1, 25]),
        place_last=np.array([6, 9, 2, 29]),
    )
    assert chosen.tolist() == [2, 0, -1, 3]  # the first place crosses the end of the first window


def test_windows_with_the_answer_are_kept_before_others() -> None:
    row = np.array([0, 0, 0, 0, 1, 2, 2])
    has = np.array([False, False, True, True, False, False, True])
    assert keep_windows(row, has, 3).tolist() == [True, False, True, True, True, True, True]
    assert keep_windows(row, has, 1).tolist() == [False, False, True, False, True, False, True]
