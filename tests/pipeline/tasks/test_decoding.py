"""Predictions from outputs, worked by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tasks.decoding import MAX_ANSWER_TOKENS, decode, decode_choice, decode_span, decode_tags
from pipeline.tasks.metrics.tagging import entity_f1

CONTEXT = "It rained in Rome on Monday"
WORDS = [[0, 2], [3, 9], [10, 12], [13, 17], [18, 20], [21, 27]]
NONE = [-1, -1]
ALL = [0, 1, 2, 3, 4, 5]


def span_reference(*windows: list[int]) -> dict[str, Any]:
    """The reference of windows over these words of the context."""
    spans = [span for words in windows for span in (NONE, *(WORDS[n] for n in words))]
    return {"context": CONTEXT, "spans": spans}


def window(null: float, starts: list[float], ends: list[float]) -> np.ndarray:
    return np.array([[null, null], *zip(starts, ends, strict=True)], dtype=np.float32)


@pytest.mark.parametrize(
    ("kind", "outputs", "reference", "prediction"),
    [
        ("classification", [0.1, 2.0, -1.0], {}, 1),
        ("marked", [3.0, 2.0], {}, 0),
        ("regression", [2.5], {}, 2.5),
        ("choice", [0.1, 0.7, 0.7], {"label": 0}, 1),
        ("choice", [0.1, 0.7, 0.7], {"choices": ["Rome", "Oslo", "Bonn"]}, "Oslo"),
        ("choice", [], {"choices": []}, ""),
    ],
)
def test_classes_values_and_choices(
    kind: str, outputs: list[float], reference: dict[str, Any], prediction: Any
) -> None:
    assert decode(kind, np.array(outputs, dtype=np.float32), reference) == prediction


def test_words_that_were_cut_are_outside_entities() -> None:
    reference = {"tokens": ["in", "New", "York", "City"], "words": [0, 1]}
    logits = np.array([[5, 0, 0], [0, 5, 0]])
    names = ("O", "B-place", "I-place")
    tags = decode("tagging", logits, reference, label_names=names)
    assert tags == ["O", "B-place", "O", "O"]
    # ... so an entity behind the cut counts as missed
    assert entity_f1([tags], [{"tags": ["O", "B-place", "O", "B-place"]}]) == pytest.approx(100 * 2 / 3)
    assert decode("tagging", np.zeros((0, 3)), {"tokens": [], "words": []}, label_names=names) == []


def test_a_word_in_two_windows_gets_the_tag_of_its_mean_logits() -> None:
    reference = {"tokens": ["a", "b"], "words": [0, 1, 1]}
    logits = np.array([[1.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    assert decode_tags(logits, reference, ("X", "Y")) == ["X", "X"]


@pytest.mark.parametrize(
    ("windows", "words", "answer"),
    [
        # the best start (word 3) is after the best end (word 1)
        ([window(0, [0, 2, 0, 5, 0, 0], [0, 5, 0, 1, 0, 0])], [ALL], "rained"),
        ([window(0, [4, 0, 0, 5, 0, 0], [0, 5, 0, 1, 0, 0])], [ALL], "It rained"),
        # window 1 has the larger logits, but "no answer" there is likelier still
        (
            [window(0, [0, 0, 3], [0, 0, 3]), window(20, [19, 0, 0], [19, 0, 0])],
            [[1, 2, 3], [3, 4, 5]],
            "Rome",
        ),
        (
            [window(0, [0, 0], [0, 0]), window(0, [0, 0], [0, 0])],
            [[3, 4], [1, 2]],
            "rained",
        ),  # ties: the first
        ([window(1, [], [])], [[]], ""),
        ([], [], ""),
    ],
)
def test_the_best_pair_of_start_and_end_wins(
    windows: list[np.ndarray], words: list[list[int]], answer: str
) -> None:
    assert decode("span", windows, span_reference(*words)) == answer


@pytest.mark.parametrize(("threshold", "answer"), [(None, "Rome"), (0.0, ""), (-2.0, ""), (-2.5, "Rome")])
def test_a_threshold_decides_between_the_answer_and_none(threshold: float | None, answer: str) -> None:
    windows = [window(4, [0, 3], [0, 3])]  # log odds of "Rome": 6 - 8 = -2
    assert decode("span", windows, span_reference([2, 3]), null_threshold=threshold) == answer


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_answer_is_the_best_of_all_pairs(seed: int) -> None:
    draw = np.random.default_rng(seed)
    context = "".join(map(chr, range(0x4E00, 0x4E00 + 400)))  # every text stands once
    letters = np.cumsum(draw.integers(1, 3, size=3 * 60))
    spans, windows, pairs = [], [], []
    for number in range(3):
        logits = draw.integers(-2, 3, size=(draw.integers(1, 60), 2))  # few values, so that many pairs tie
        here = [[int(letter), int(letter + 1)] for letter in letters[60 * number :][: len(logits) - 1]]
        spans += [NONE, *here]
        windows.append(logits.astype(np.float32))
        for first, (begin, _) in enumerate(here, start=1):
            for last, (_, end) in enumerate(here[first - 1 :][:MAX_ANSWER_TOKENS], start=first):
                pairs.append((int(logits[0].sum() - logits[first, 0] - logits[last, 1]), begin, end))
    score, begin, end = min(pairs, default=(0, 0, 0))
    reference = {"context": context, "spans": spans}
    assert decode_span(windows, reference) == context[begin:end]
    assert decode_span(windows, reference, null_threshold=-score) == ""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_of_a_diverged_model_are_decoded(value: float) -> None:
    assert decode_span([np.full((7, 2), value, dtype=np.float32)], span_reference(ALL)) in CONTEXT
    logits = window(0, [0, 3, 0, value, 0, 0], [0, 3, 0, 0, 0, 0])
    assert decode("span", [logits], span_reference(ALL)) == ("Rome" if value == np.inf else "rained")


def test_outputs_that_do_not_fit_their_reference_are_refused() -> None:
    with pytest.raises(ValueError, match="span logits of 2 positions for 3 spans"):
        decode("span", [window(0, [0], [0])], span_reference([2, 3]))
    with pytest.raises(ValueError, match="2 scores for 1 choices"):
        decode_choice(np.zeros(2), ["Rome"])
    with pytest.raises(ValueError, match="a row of a choice task has no encodings"):
        decode_choice(np.zeros(0))
    with pytest.raises(ValueError, match=r"shape \(2, 3\) for 1 labelled words and 3"):
        decode_tags(np.zeros((2, 3)), {"tokens": ["a"], "words": [0]}, ("O", "B", "I"))
    with pytest.raises(ValueError, match="no decoding for head kind 'ranking'"):
        decode("ranking", np.zeros(2))
