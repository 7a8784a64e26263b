"""Metrics of answers: cases worked by hand, and generated strings against a second, plainer implementation."""

from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tasks.metrics.question_answering import (
    answer_words,
    exact_match,
    multirc_em,
    multirc_f1a,
    token_f1,
)

PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def gold(*answers: str) -> dict[str, Any]:
    return {"answers": list(answers)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The U.S.A.!", ["usa"]),
        ("a man and An\tApple,  the", ["man", "and", "apple"]),
        ("half-time", ["halftime"]),
        ("the-", []),  # punctuation is removed first, so this is an article
        ("athe theory", ["athe", "theory"]),
        ("the’s", ["’s"]),  # a sign outside ASCII stays, and separates articles
        ("x–a–y", ["x–", "–y"]),
        ("10,000 £", ["10000", "£"]),
        ("Straße", ["straße"]),  # lower case only: "strasse" is another word
        ("\u00a0\u2003", []),
    ],
)
def test_words_of_an_answer(text: str, words: list[str]) -> None:
    assert answer_words(text) == words


@pytest.mark.parametrize(
    ("predictions", "answers", "exact", "f1"),
    [
        # row 1: 1 word; shares it with 2 and with 3 words: 2/3 and 2/4. Row 2: 1. Row 3: 0.
        (
            ["The Broncos", "1990.", "Paris"],
            [("Denver Broncos", "the Broncos of Denver"), ("in 1990", "1990"), ("Berlin",)],
            1 / 3,
            (2 / 3 + 1 + 0) / 3,
        ),
        (["new new york"], [("New New Orleans LA",)], 0, 4 / 7),  # "new" is shared twice, of 3 and 4 words
        (["Super Bowl"], [("bowl super",)], 0, 1),  # order matters for the exact match alone
        (["", "", "", "x"], [(), ("",), (" ",), ()], 0.75, 0.75),  # "" is right where there is no answer
        ([""], [("x",)], 0, 0),
        (["a"], [("The",)], 1, 0),  # articles alone match but share no word
    ],
)
def test_answers_by_hand(
    predictions: list[str], answers: list[tuple[str, ...]], exact: float, f1: float
) -> None:
    references = [gold(*texts) for texts in answers]
    assert exact_match(predictions, references) == pytest.approx(100 * exact)
    assert token_f1(predictions, references) == pytest.approx(100 * f1)


def test_multirc_by_hand() -> None:
    # In paragraph 0, question 0 is classified correctly and question 1 is not; in paragraph 1, question 1 is.
    rows = [((0, 0), 1), ((0, 1), 1), ((0, 0), 0), ((0, 1), 1), ((1, 1), 0)]
    references = [{"question": list(question), "label": label} for question, label in rows]
    predictions = [1, 1, 0, 0, 0]
    assert multirc_em(predictions, references) == pytest.approx(100 * 2 / 3)
    assert multirc_f1a(predictions, references) == pytest.approx(100 * 2 * 2 / (2 + 3))


# The shared task's rules in other words: letter by letter, without regular expressions.


def plain_words(text: str) -> list[str]:
    kept = [letter for letter in text.lower() if letter not in PUNCTUATION]
    runs = ["".join(run) for _, run in groupby(kept, key=str.isalnum)]  # letters and digits, or other signs
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def plain_f1(prediction: str, right: str) -> float:
    predicted, expected = plain_words(prediction), plain_words(right)
    shared = sum(min(predicted.count(word), expected.count(word)) for word in set(predicted))
    return 2 * shared / (len(predicted) + len(expected)) if shared else 0.0


PIECES = [
    "the",
    "The",
    "THE",
    "a",
    "an",
    "An",
    "theory",
    "U.S.",
    "half-time",
    "won’t",
    "_the_",
    "naïve",
    "İ",
    "1,000",
]
SEPARATORS = [" ", "  ", "-", "–", "\u00a0", "\t", ", ", "’", "_", ""]
ANSWER = st.one_of(
    st.text(max_size=12),
    st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(SEPARATORS)), max_size=6).map(
        lambda parts: "".join(piece + separator for piece, separator in parts)
    ),
)
ROW = st.tuples(
    ANSWER, st.lists(ANSWER, min_size=1, max_size=3).filter(lambda answers: any(map(str.strip, answers)))
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=4))
def test_answers_score_as_by_the_plain_rules(rows: list[tuple[str, list[str]]]) -> None:
    predictions, references = [row[0] for row in rows], [gold(*row[1]) for row in rows]
    matches = [any(plain_words(text) == plain_words(answer) for answer in answers) for text, answers in rows]
    best = [max(plain_f1(text, answer) for answer in answers) for text, answers in rows]
    assert exact_match(predictions, references) == pytest.approx(100 * sum(matches) / len(rows))
    assert token_f1(predictions, references) == pytest.approx(100 * sum(best) / len(rows))
