"""Metrics of answers: cases worked by hand, and generated strings against a second, plainer implementation."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tasks.metrics.question_answering import (
    QA_METRICS,
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
        ("the-", []),  # punctuation goes first, so that this is an article
        ("athe theory", ["athe", "theory"]),
        ("the’s", ["’s"]),  # a sign outside ASCII stays, and ends a word as far as articles go
        ("x–a–y", ["x–", "–y"]),
        ("10,000 £", ["10000", "£"]),
        ("Straße", ["straße"]),  # lower case, no more: "strasse" is another word
        ("\u00a0\u2003", []),
    ],
)
def test_words_of_an_answer(text: str, words: list[str]) -> None:
    assert answer_words(text) == words


def test_the_best_of_several_right_answers_counts() -> None:
    references = [gold("Denver Broncos", "the Broncos of Denver"), gold("in 1990", "1990"), gold("Berlin")]
    predictions = ["The Broncos", "1990.", "Paris"]
    assert exact_match(predictions, references) == pytest.approx(100 / 3)
    # row 1: 1 word given; shares it with 2 and with 3 words: 2/3 and 2/4. Row 2: 1. Row 3: 0.
    assert token_f1(predictions, references) == pytest.approx(100 * (2 / 3 + 1 + 0) / 3)


def test_repeated_words_count_as_often_as_both_have_them() -> None:
    # 2 of "new" are shared, of 3 given and 4 right words: 2 * 2 / 7
    assert token_f1(["new new york"], [gold("New New Orleans LA")]) == pytest.approx(100 * 4 / 7)


def test_the_order_of_words_counts_for_the_exact_match_alone() -> None:
    assert exact_match(["Super Bowl"], [gold("bowl super")]) == 0.0
    assert token_f1(["Super Bowl"], [gold("bowl super")]) == 100.0


def test_saying_nothing_is_right_where_there_is_no_answer_and_wrong_elsewhere() -> None:
    for metric in (exact_match, token_f1):
        assert metric(["", "", "", "x"], [gold(), gold(""), gold(" "), gold()]) == 75.0
        assert metric([""], [gold("x")]) == 0.0


def test_an_answer_of_articles_alone_matches_but_shares_no_word() -> None:
    assert exact_match(["a"], [gold("The")]) == 100.0
    assert token_f1(["a"], [gold("The")]) == 0.0


def test_multirc_by_hand() -> None:
    # Paragraph 0: question 0 all judged rightly, question 1 not. Paragraph 1 has a question 1, too, judged rightly.
    references = [
        {"question": [0, 0], "label": 1},
        {"question": [0, 1], "label": 1},
        {"question": [0, 0], "label": 0},
        {"question": [0, 1], "label": 1},
        {"question": [1, 1], "label": 0},
    ]
    predictions = [1, 1, 0, 0, 0]
    assert multirc_em(predictions, references) == pytest.approx(100 * 2 / 3)
    assert multirc_f1a(predictions, references) == pytest.approx(100 * 2 * 2 / (2 + 3))


@pytest.mark.parametrize("metric", QA_METRICS.values(), ids=QA_METRICS)
def test_rows_without_a_partner_are_refused(metric: Any) -> None:
    with pytest.raises(ValueError, match="0 predictions for 0 references"):
        metric([], [])
    with pytest.raises(ValueError, match="1 predictions for 0 references"):
        metric(["x"], [])


# The shared task's rules once more, in other words: letter by letter, without regular expressions.


def plain_words(text: str) -> list[str]:
    kept = ""
    for letter in text.lower():
        if letter not in PUNCTUATION:
            kept += letter
    runs: list[str] = []  # runs of letters and digits, and of other signs
    for letter in kept:
        if runs and runs[-1][-1].isalnum() == letter.isalnum():
            runs[-1] += letter
        else:
            runs.append(letter)
    words = [""]
    for letter in "".join(" " if run in ("a", "an", "the") else run for run in runs):
        if letter.isspace():
            words.append("")
        else:
            words[-1] += letter
    return [word for word in words if word]


def plain_f1(prediction: str, right: str) -> float:
    given, left = plain_words(prediction), plain_words(right)
    precision_of, recall_of, shared = len(given), len(left), 0
    for word in given:
        if word in left:
            left.remove(word)
            shared += 1
    if shared == 0:
        return 0.0
    precision, recall = shared / precision_of, shared / recall_of
    return 2 * precision * recall / (precision + recall)


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
    ANSWER,
    st.lists(ANSWER, min_size=1, max_size=3).filter(lambda answers: any(map(str.strip, answers))),
)


@settings(max_examples=2000, deadline=None)
@given(ROW)
def test_one_answer_scores_as_by_the_plain_rules(row: tuple[str, list[str]]) -> None:
    prediction, answers = row
    match = max(plain_words(prediction) == plain_words(answer) for answer in answers)
    best = max(plain_f1(prediction, answer) for answer in answers)
    assert exact_match([prediction], [gold(*answers)]) == (100.0 if match else 0.0)
    assert token_f1([prediction], [gold(*answers)]) == pytest.approx(100 * best)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=8))
def test_a_set_scores_the_mean_of_its_rows(rows: list[tuple[str, list[str]]]) -> None:
    predictions, references = [row[0] for row in rows], [gold(*row[1]) for row in rows]
    for metric in (exact_match, token_f1):
        alone = [
            metric([prediction], [right]) for prediction, right in zip(predictions, references, strict=True)
        ]
        assert metric(predictions, references) == pytest.approx(sum(alone) / len(alone))
