"""Predictions from outputs, worked by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tasks.decoding import decode, decode_choice, decode_span, decode_tags
from pipeline.tasks.metrics.tagging import entity_f1
from pipeline.tasks.spans import best_spans

CONTEXT = "It rained in Rome on Monday"
WORDS = [[0, 2], [3, 9], [10, 12], [13, 17], [18, 20], [21, 27]]
NONE = [-1, -1]


def span_reference(*windows: list[int]) -> dict[str, Any]:
    """The reference of windows over these words of the context."""
    return {
        "context": CONTEXT,
        "spans": [span for words in windows for span in (NONE, *(WORDS[n] for n in words))],
    }


def window(null: float, starts: list[float], ends: list[float]) -> np.ndarray:
    return np.array([[null, null], *zip(starts, ends, strict=True)], dtype=np.float32)


def test_a_class_and_a_value() -> None:
    assert decode("classification", np.array([0.1, 2.0, -1.0])) == 1
    assert decode("marked", np.array([3.0, 2.0])) == 0
    assert decode("regression", np.array([2.5], dtype=np.float32)) == 2.5


def test_a_choice_is_a_number_or_its_text() -> None:
    scores = np.array([0.1, 0.7, 0.7])
    assert decode("choice", scores, {"label": 0}) == 1
    assert decode("choice", scores, {"choices": ["Rome", "Oslo", "Bonn"], "answers": ["Rome"]}) == "Oslo"
    assert decode("choice", np.zeros(0), {"choices": [], "answers": ["Rome"]}) == ""


def test_words_that_were_cut_are_outside() -> None:
    reference = {"tokens": ["in", "New", "York", "City"], "words": [0, 1]}
    logits = np.array([[5, 0, 0], [0, 5, 0]])
    names = ("O", "B-place", "I-place")
    assert decode("tagging", logits, reference, label_names=names) == ["O", "B-place", "O", "O"]
    # ... so that an entity behind the cut counts as missed
    assert entity_f1(
        [["O", "B-place", "O", "O"]], [{"tags": ["O", "B-place", "O", "B-place"]}]
    ) == pytest.approx(100 * 2 / 3)
    nothing: dict[str, Any] = {"tokens": [], "words": []}
    assert decode("tagging", np.zeros((0, 3)), nothing, label_names=names) == []


def test_a_word_in_two_windows_gets_the_tag_of_its_mean_logits() -> None:
    reference = {"tokens": ["a", "b"], "words": [0, 1, 1]}
    logits = np.array([[1.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    assert decode_tags(logits, reference, ("X", "Y")) == ["X", "X"]


def test_the_best_pair_wins_although_its_parts_are_not_the_best() -> None:
    # the best start (word 3) lies behind the best end (word 1)
    logits = window(0, [0, 2, 0, 5, 0, 0], [0, 5, 0, 1, 0, 0])
    assert decode("span", [logits], span_reference([0, 1, 2, 3, 4, 5])) == "rained"
    logits = window(0, [4, 0, 0, 5, 0, 0], [0, 5, 0, 1, 0, 0])
    assert decode("span", [logits], span_reference([0, 1, 2, 3, 4, 5])) == "It rained"


def test_an_answer_has_no_more_tokens_than_allowed() -> None:
    logits = window(0, [5, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 5])
    reference = span_reference([0, 1, 2, 3, 4, 5])
    assert decode_span([logits], reference, max_answer_tokens=6) == CONTEXT
    assert decode_span([logits], reference, max_answer_tokens=5) == "It rained in"
    assert decode_span([logits], reference, max_answer_tokens=1) == "It"


def test_windows_are_compared_by_odds_against_their_own_no_answer() -> None:
    # window 1 has the larger logits, but finds "no answer" likelier still
    first, second = window(0, [0, 0, 3], [0, 0, 3]), window(20, [19, 0, 0], [19, 0, 0])
    reference = span_reference([1, 2, 3], [3, 4, 5])
    found = best_spans([first, second], reference, n_best=3)
    assert (found[0].text, found[0].score, found[0].window) == ("Rome", 6.0, 0)
    assert found[0].begin == 13
    assert found[0].end == 17
    assert decode_span([first, second], reference) == "Rome"


def test_an_answer_seen_in_two_windows_is_listed_once_with_its_better_score() -> None:
    first, second = window(0, [0, 2], [0, 2]), window(0, [3, 0], [3, 0])
    found = best_spans([first, second], span_reference([2, 3], [3, 4]))
    assert [(answer.text, answer.score) for answer in found].count(("Rome", 6.0)) == 1
    assert [answer.text for answer in found].count("Rome") == 1
    assert len(found) == 5  # in, in Rome, Rome, Rome on, on
    assert [answer.score for answer in found] == sorted((answer.score for answer in found), reverse=True)


def test_no_answer_is_said_below_the_threshold_only_where_there_is_one() -> None:
    windows = [window(4, [0, 3], [0, 3])]  # log odds of "Rome": 6 - 8 = -2
    reference = span_reference([2, 3])
    assert decode("span", windows, reference) == "Rome"
    assert decode("span", windows, reference, null_threshold=0.0) == ""
    assert decode("span", windows, reference, null_threshold=-2.0) == ""
    assert decode("span", windows, reference, null_threshold=-2.5) == "Rome"


def test_a_row_without_context_has_no_answer() -> None:
    assert decode("span", [window(1, [], [])], span_reference([])) == ""
    assert decode("span", [], {"context": "", "spans": []}) == ""


def test_of_equal_answers_the_first_and_shortest_is_taken() -> None:
    logits = np.zeros((200, 2), dtype=np.float32)
    reference = {"context": "x" * 200, "spans": [NONE, *([n, n + 1] for n in range(199))]}
    found = best_spans([logits], reference, n_best=3)
    assert [(answer.begin, answer.end) for answer in found] == [(0, 1), (0, 2), (0, 3)]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 8))
def test_the_best_answers_are_those_of_trying_all_pairs(
    seed: int, n_best: int, max_answer_tokens: int
) -> None:
    draw = np.random.default_rng(seed)
    letters = np.cumsum(draw.integers(1, 3, size=3 * 20))
    spans, windows, expected = [], [], []
    for number in range(3):
        logits = draw.integers(-2, 3, size=(draw.integers(1, 20), 2))  # few values, so that many pairs tie
        here = [
            [int(letters[20 * number + n]), int(letters[20 * number + n] + 1)] for n in range(len(logits) - 1)
        ]
        spans += [NONE, *here]
        windows.append(logits.astype(np.float32))
        for first, (begin, _) in enumerate(here, start=1):
            for last, (_, end) in enumerate(here[first - 1 : first - 1 + max_answer_tokens], start=first):
                expected.append((int(logits[0].sum() - logits[first, 0] - logits[last, 1]), begin, end))
    found = best_spans(
        windows, {"context": "", "spans": spans}, n_best=n_best, max_answer_tokens=max_answer_tokens
    )
    assert [(-answer.score, answer.begin, answer.end) for answer in found] == sorted(expected)[:n_best]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_of_a_diverged_model_decode_to_something(value: float) -> None:
    reference = span_reference([0, 1, 2, 3, 4, 5])
    assert decode_span([np.full((7, 2), value, dtype=np.float32)], reference) in CONTEXT
    logits = window(0, [0, 3, 0, value, 0, 0], [0, 3, 0, 0, 0, 0])
    assert decode("span", [logits], reference) == ("Rome" if value == np.inf else "rained")


def test_outputs_that_do_not_fit_their_reference_are_refused() -> None:
    with pytest.raises(ValueError, match="span logits of 2 positions for 3 spans"):
        decode("span", [window(0, [0], [0])], span_reference([2, 3]))
    with pytest.raises(ValueError, match="2 scores for 1 choices"):
        decode_choice(np.zeros(2), ["Rome"])
    with pytest.raises(ValueError, match="a row of a choice has no encodings"):
        decode_choice(np.zeros(0))
    with pytest.raises(ValueError, match=r"shape \(2, 3\) for 1 labelled words and 3"):
        decode_tags(np.zeros((2, 3)), {"tokens": ["a"], "words": [0]}, ("O", "B", "I"))
    with pytest.raises(ValueError, match="no decoding for head kind 'ranking'"):
        decode("ranking", np.zeros(2))
