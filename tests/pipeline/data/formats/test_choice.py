"""Choices: one encoding each, the right one's number, clozes with several or no right answers."""

from typing import Any

import pytest

from pipeline.data.formats import ChoiceColumns, ClozeColumns, Status
from pipeline.data.formats.choice import right_choices
from tests.pipeline.data.formats.harness import Encode, one_row

ALTERNATIVES = ChoiceColumns(text="{premise} {question}", choices=("choice1", "choice2"))
LISTED = ChoiceColumns(text="premise", choices=("choices",))
CLOZE = ClozeColumns()
QUERY = "the dog met @placeholder so @placeholder ran"
PASSAGE, ENTITIES = "Ada met the dog in Rome", ["Rome", "Ada", "the dog"]
ROW = {"passage": PASSAGE, "query": QUERY, "entities": ENTITIES, "answers": ["Ada"]}


def test_each_alternative_is_paired_with_premise_and_question(encode: Encode) -> None:
    rows = {"premise": ["the cat ran", "a dog"], "question": ["cause", "effect"], "label": [1, 0]}
    choices = {"choice1": ["the dog", "the cat"], "choice2": ["so what", "xyz"]}
    encoded = encode(ALTERNATIVES, rows | choices, training=False)
    assert [encoding.text for row in (0, 1) for encoding in encoded.encodings(row)] == [
        "[CLS] the cat ran cause [SEP] the dog [SEP]",
        "[CLS] the cat ran cause [SEP] so what [SEP]",
        "[CLS] a dog effect [SEP] the cat [SEP]",
        "[CLS] a dog effect [SEP] x ##y ##z [SEP]",
    ]
    assert encoded.labels == [1, 0]
    assert [encoded.reference(row) for row in (0, 1)] == [{"label": 1}, {"label": 0}]


def test_a_column_of_lists_gives_each_row_its_own_choices(encode: Encode) -> None:
    rows = {
        "premise": ["who", "what", "where", "xyz", "a"],
        "choices": [["ada", "the cat", "a dog"], ["rome"], [], ["x", "y"], ["", "x"]],
        "label": [2, 0, 0, -1, 1],
    }
    encoded = encode(LISTED, rows)
    assert [len(encoded.encodings(row)) for row in range(5)] == [3, 1, 1, 2, 2]
    assert encoded.labels == [2, 0, -1, -1, 1]
    problems = [Status.ANSWER_NOT_FOUND, Status.UNLABELLED, Status.EMPTY_TEXT]
    assert encoded.statuses == [Status.KEPT, Status.KEPT, *problems]


def test_each_entity_replaces_the_placeholder(encode: Encode) -> None:
    encoded = encode(CLOZE, one_row(**ROW), training=False)
    assert [encoding.text for encoding in encoded.encodings()] == [
        f"[CLS] ada met the dog in rome [SEP] the dog met {entity} so {entity} ran [SEP]"
        for entity in ("rome", "ada", "the dog")
    ]
    assert encoded.labels == [1]
    assert encoded.reference() == {"answers": ["Ada"], "choices": ENTITIES, "query": QUERY}


def test_training_keeps_the_first_of_several_right_entities(encode: Encode) -> None:
    changes = {"entities": ["Rome", "Ada", "the dog", "Ada"], "answers": ["the dog", "Ada"]}
    trained = encode(CLOZE, one_row(**ROW | changes))
    assert trained.labels == [1]
    assert len(trained.encodings()) == 2  # Rome, Ada: the dog would count as wrong
    evaluated = encode(CLOZE, one_row(**ROW | changes), training=False)
    assert len(evaluated.encodings()) == 3
    assert evaluated.reference()["choices"] == ENTITIES


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"answers": []}, Status.MISSING_ANSWER),
        ({"answers": None}, Status.MISSING_ANSWER),
        ({"answers": ["Paris"]}, Status.ANSWER_NOT_FOUND),
        ({"entities": []}, Status.ANSWER_NOT_FOUND),
        ({"entities": [], "answers": []}, Status.MISSING_ANSWER),
        ({"passage": ""}, Status.EMPTY_TEXT),
        ({"answers": ["ADA"]}, Status.KEPT),
        ({"entities": ["Øst", '"東京"'], "answers": ["Øst"]}, Status.KEPT),
    ],
)
def test_a_cloze_without_its_answer_is_not_trained_on(
    encode: Encode, changes: dict[str, Any], status: Status
) -> None:
    encoded = encode(CLOZE, one_row(**ROW | changes), training=False)
    trained = status <= Status.EMPTY_TEXT
    assert encoded.statuses == [status]
    assert encoded.rows.trainable[0] == trained
    assert (encoded.labels[0] == -1) == (not trained)
    assert encoded.reference()["choices"] == ((ROW | changes)["entities"] or [""])
    assert len(encoded.reference()["choices"]) == len(encoded.encodings())
    assert encoded.rows.report() == ({} if status is Status.KEPT else {status.name.lower(): 1})


def test_a_very_long_passage_is_cut_for_every_entity_and_the_query_stays(encode: Encode) -> None:
    encoded = encode(CLOZE, one_row(**ROW | {"passage": "the cat " * 9_000}), length=24)
    assert encoded.rows.truncated.tolist() == [True]
    for encoding, entity in zip(encoded.encodings(), ("rome", "ada", "the dog"), strict=True):
        assert encoding.text.startswith("[CLS] the cat the cat")
        assert encoding.text.endswith(f"so {entity} ran [SEP]")


def test_spelling_comes_before_case() -> None:
    assert right_choices(["ada", "Ada", "ADA"], ["Ada"]) == [1]
    assert right_choices(["ada", "ADA"], ["Ada"]) == [0, 1]
    assert right_choices(["ada"], []) == []
