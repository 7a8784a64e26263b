"""Metrics of named entities, worked by hand."""

from typing import Any

import pytest

from pipeline.tasks.metrics.tagging import TAGGING_METRICS, entity_f1, surface_f1

BOTH = pytest.mark.parametrize("metric", TAGGING_METRICS.values(), ids=TAGGING_METRICS)


def sentence(words: str, tags: str) -> dict[str, Any]:
    return {"tokens": words.split(), "tags": tags.split()}


def test_entities_count_by_position_and_forms_once() -> None:
    news = [
        sentence("Ada Lovelace met Ada", "B-person I-person O B-person"),
        sentence("Ada saw Paris", "B-person O B-location"),
    ]
    # Right: 4 entities. Predicted: "Ada" (too short), "Ada" (correct), "Ada" (correct), "Paris" (wrong type).
    predicted = [["B-person", "O", "O", "B-person"], ["B-person", "O", "B-group"]]
    assert entity_f1(predicted, news) == pytest.approx(100 * 2 * 2 / (4 + 4))
    # Distinct right forms: Ada Lovelace, Ada, Paris. Predicted: Ada, Paris as a group. Correct: Ada.
    assert surface_f1(predicted, news) == pytest.approx(100 * 2 * 1 / (3 + 2))


def test_a_surface_form_is_correct_only_in_its_position() -> None:
    news = [sentence("Ada called", "B-person O"), sentence("Ada called", "O O")]
    assert surface_f1([["O", "O"], ["B-person", "O"]], news) == 0.0
    assert surface_f1([["B-person", "O"], ["O", "O"]], news) == 100.0


def test_surface_forms_keep_their_case_and_the_borders_of_their_words() -> None:
    news = [sentence("New York new york", "B-location I-location B-location I-location")]
    # "New York" is correct, "new york" is predicted as two forms of one word: 2 right, 3 predicted
    predicted = [["B-location", "I-location", "B-location", "B-location"]]
    assert surface_f1(predicted, news) == pytest.approx(100 * 2 / 5)


@BOTH
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("words", "right", "predicted", "score"),
    [
        ("Dune read", "B-creative-work O", "B-creative-work O", 100.0),
        ("Dune read", "B-creative-work O", "B-work O", 0.0),
        # an "I-" that continues no entity begins one
        ("in New York now", "O B-location I-location O", "O I-location I-location O", 100.0),
        ("in New York now", "O B-location I-location O", "I-group I-location I-location O", 100 * 2 / 3),
        ("so what", "O O", "O O", 0.0),
        ("so what", "O O", "O B-person", 0.0),
        ("so Ada", "O B-person", "O O", 0.0),
        ("", "", "", 0.0),
    ],
)
def test_one_sentence_by_hand(metric: Any, words: str, right: str, predicted: str, score: float) -> None:
    value = metric([[], predicted.split(), []], [sentence("", ""), sentence(words, right), sentence("", "")])
    assert value == pytest.approx(score)


@BOTH
def test_entities_end_with_their_sentence(metric: Any) -> None:
    # in one text the two entities would be one of two words
    news = [sentence("in York", "O B-location"), sentence("York it is", "I-location O O")]
    score = 100.0 if metric is surface_f1 else 100 * 2 / 3
    assert metric([["O", "B-location"], ["O", "O", "O"]], news) == pytest.approx(score)


@BOTH
@pytest.mark.parametrize(
    ("predicted", "references", "message"),
    [
        (
            [["O"], ["O", "O"]],
            [sentence("so", "O")] * 2,
            "sentence 1 has 1 right and 2 predicted tags for 1 words",
        ),
        ([["O", "O"]], [sentence("so", "O O")], "sentence 0 has 2 right and 2 predicted tags for 1 words"),
        ([["NOUN"]], [sentence("so", "O")], "tag 'NOUN'"),
    ],
)
def test_tags_that_do_not_fit_are_refused(metric: Any, predicted: Any, references: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(predicted, references)
