"""Metrics of named entities, worked by hand."""

from typing import Any

import pytest

from pipeline.tasks.metrics.tagging import TAGGING_METRICS, entity_f1, surface_f1

BOTH = pytest.mark.parametrize("metric", TAGGING_METRICS.values(), ids=TAGGING_METRICS)


def sentence(words: str, tags: str) -> dict[str, Any]:
    return {"tokens": words.split(), "tags": tags.split()}


def tags(*sentences: str) -> list[list[str]]:
    return [tags_of_one.split() for tags_of_one in sentences]


NEWS = [
    sentence("Ada Lovelace met Ada", "B-person I-person O B-person"),
    sentence("Ada saw Paris", "B-person O B-location"),
]


def test_entities_count_with_both_ends_and_type() -> None:
    # Right: 4 entities. Given: "Ada" (too short), "Ada" (found), "Ada" (found), "Paris" (wrong type): 2 of 4.
    given = [["B-person", "O", "O", "B-person"], ["B-person", "O", "B-group"]]
    assert entity_f1(given, NEWS) == pytest.approx(100 * 2 * 2 / (4 + 4))


def test_surface_forms_count_once_however_often_they_occur() -> None:
    # Different right ones: Ada Lovelace, Ada, Paris. Given: Ada, Paris as a group. Found: Ada.
    given = [["B-person", "O", "O", "B-person"], ["B-person", "O", "B-group"]]
    assert surface_f1(given, NEWS) == pytest.approx(100 * 2 * 1 / (3 + 2))


def test_a_surface_form_is_found_only_where_it_stands() -> None:
    news = [sentence("Ada called", "B-person O"), sentence("Ada called", "O O")]
    assert surface_f1([["O", "O"], ["B-person", "O"]], news) == 0.0
    assert surface_f1([["B-person", "O"], ["O", "O"]], news) == 100.0


def test_surface_forms_keep_their_case_and_the_borders_of_their_words() -> None:
    news = [sentence("New York new york", "B-location I-location B-location I-location")]
    # "New York" is found, "new york" is given as two of one word each: 2 right, 3 given
    assert surface_f1([["B-location", "I-location", "B-location", "B-location"]], news) == pytest.approx(
        100 * 2 / 5
    )


def test_types_with_a_hyphen_are_one_type() -> None:
    news = [sentence("Dune read", "B-creative-work O")]
    for metric in TAGGING_METRICS.values():
        assert metric([["B-creative-work", "O"]], news) == 100.0
        assert metric([["B-work", "O"]], news) == 0.0


@BOTH
def test_an_inside_that_continues_nothing_begins_an_entity(metric: Any) -> None:
    news = [sentence("in New York now", "O B-location I-location O")]
    assert metric([["O", "I-location", "I-location", "O"]], news) == 100.0
    assert metric([["I-group", "I-location", "I-location", "O"]], news) == pytest.approx(100 * 2 / 3)


@BOTH
def test_entities_end_with_their_sentence(metric: Any) -> None:
    # were the sentences one text, the two would be one entity of two words
    news = [sentence("in York", "O B-location"), sentence("York it is", "I-location O O")]
    assert metric([["O", "B-location"], ["O", "O", "O"]], news) == pytest.approx(
        100.0 if metric is surface_f1 else 100 * 2 / 3
    )


@BOTH
@pytest.mark.filterwarnings("error")
def test_without_any_entity_the_value_is_zero(metric: Any) -> None:
    assert metric([["O", "O"]], [sentence("so what", "O O")]) == 0.0
    assert metric([["O", "B-person"]], [sentence("so what", "O O")]) == 0.0
    assert metric([["O", "O"]], [sentence("so Ada", "O B-person")]) == 0.0


@BOTH
@pytest.mark.filterwarnings("error")
def test_sentences_without_words_change_nothing(metric: Any) -> None:
    assert metric([[]], [sentence("", "")]) == 0.0
    assert metric([[], []], [sentence("", ""), sentence("", "")]) == 0.0
    assert (
        metric([[], ["B-person"], []], [sentence("", ""), sentence("Ada", "B-person"), sentence("", "")])
        == 100.0
    )


@BOTH
def test_tags_that_do_not_fit_the_words_are_refused(metric: Any) -> None:
    with pytest.raises(ValueError, match="sentence 1 has 1 right tags and 2 predicted ones for 1 words"):
        metric([["O"], ["O", "O"]], [sentence("so", "O"), sentence("so", "O")])
    with pytest.raises(ValueError, match="sentence 0 has 2 right tags and 2 predicted ones for 1 words"):
        metric([["O", "O"]], [{"tokens": ["so"], "tags": ["O", "O"]}])
    with pytest.raises(ValueError, match="tag 'NOUN'"):
        metric([["NOUN"]], [sentence("so", "O")])
    with pytest.raises(ValueError, match="0 sentences for 0"):
        metric([], [])
