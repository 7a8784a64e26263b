"""Choices: one encoding each, the right one's number, clozes with several or no right answers."""

import json
from typing import Any

import pytest
from tokenizers import Tokenizer

from pipeline.data.formats import ChoiceColumns, ClozeColumns, Status
from pipeline.data.formats.choice import right_choices
from tests.pipeline.data.formats.running import encode, encodings, reference, statuses

ALTERNATIVES = ChoiceColumns(text="{premise} {question}", choices=("choice1", "choice2"))
LISTED = ChoiceColumns(text="premise", choices=("choices",))
CLOZE = ClozeColumns()


def cloze(**changes: Any) -> dict[str, list[Any]]:
    row: dict[str, Any] = {
        "passage": "Ada met the dog in Rome",
        "query": "the dog met @placeholder so @placeholder ran",
        "entities": ["Rome", "Ada", "the dog"],
        "answers": ["Ada"],
    }
    return {name: [value] for name, value in (row | changes).items()}


def texts(rows: dict[str, list[Any]], columns: Any, tokenizer: Tokenizer, **options: Any) -> list[str]:
    encoded = encode(columns, rows, tokenizer, **options)
    return [" ".join(encoding.tokens) for encoding in encodings(encoded, 0, tokenizer)]


def test_each_alternative_is_paired_with_premise_and_question(tokenizer: Tokenizer) -> None:
    rows = {
        "premise": ["the cat ran", "a dog sat"],
        "question": ["cause", "effect"],
        "choice1": ["the dog ran", "the cat"],
        "choice2": ["so what", "xyz"],
        "label": [1, 0],
    }
    encoded = encode(ALTERNATIVES, rows, tokenizer, training=False)
    assert [
        " ".join(encoding.tokens) for row in (0, 1) for encoding in encodings(encoded, row, tokenizer)
    ] == [
        "[CLS] the cat ran cause [SEP] the dog ran [SEP]",
        "[CLS] the cat ran cause [SEP] so what [SEP]",
        "[CLS] a dog sat effect [SEP] the cat [SEP]",
        "[CLS] a dog sat effect [SEP] x ##y ##z [SEP]",
    ]
    assert encoded.table["encoding_lengths"].to_pylist() == [[10, 9], [9, 10]]
    assert encoded.table["label"].to_pylist() == [1, 0]
    assert encoded.table["token_marks"].to_pylist() == [[], []]
    assert [reference(encoded, row) for row in (0, 1)] == [{"label": 1}, {"label": 0}]


def test_a_column_of_lists_gives_each_row_its_own_choices(tokenizer: Tokenizer) -> None:
    rows = {
        "premise": ["who", "what", "where", "xyz"],
        "choices": [["ada", "the cat", "a dog"], ["rome"], [], ["x", "y"]],
        "label": [2, 0, 0, -1],
    }
    encoded = encode(LISTED, rows, tokenizer)
    assert [len(encodings(encoded, row, tokenizer)) for row in range(4)] == [3, 1, 1, 2]
    assert statuses(encoded) == [Status.KEPT, Status.KEPT, Status.ANSWER_NOT_FOUND, Status.UNLABELLED]
    assert encoded.table["label"].to_pylist() == [2, 0, -1, -1]


@pytest.mark.parametrize("label", [2, -2, 0.5])
def test_a_number_that_is_no_choices_is_told_with_its_row(tokenizer: Tokenizer, label: float) -> None:
    rows = {"premise": ["who", "what"], "choices": [["ada", "rome"]] * 2, "label": [0, label]}
    with pytest.raises(
        ValueError, match=rf"row 101 has label {label}, but the numbers of its 2 choices are 0 to 1"
    ):
        encode(LISTED, rows, tokenizer)


def test_an_empty_alternative_is_counted(tokenizer: Tokenizer) -> None:
    rows = {"premise": ["who", "what"], "choices": [["", "rome"], ["ada", "rome"]], "label": [1, 0]}
    encoded = encode(LISTED, rows, tokenizer)
    assert statuses(encoded) == [Status.EMPTY_TEXT, Status.KEPT]
    assert encoded.trainable.all()


def test_the_placeholder_is_filled_by_each_entity(tokenizer: Tokenizer) -> None:
    passage = "[CLS] ada met the dog in rome [SEP]"
    assert texts(cloze(), CLOZE, tokenizer) == [
        f"{passage} the dog met rome so rome ran [SEP]",
        f"{passage} the dog met ada so ada ran [SEP]",
        f"{passage} the dog met the dog so the dog ran [SEP]",
    ]
    encoded = encode(CLOZE, cloze(), tokenizer, training=False)
    assert encoded.table["label"].to_pylist() == [1]
    assert reference(encoded, 0) == {
        "answers": ["Ada"],
        "choices": ["Rome", "Ada", "the dog"],
        "query": "the dog met @placeholder so @placeholder ran",
    }


def test_of_several_right_entities_training_sees_the_first_alone(tokenizer: Tokenizer) -> None:
    row = cloze(entities=["Rome", "Ada", "the dog", "Ada"], answers=["the dog", "Ada"])
    trained = encode(CLOZE, row, tokenizer)
    assert trained.table["label"].to_pylist() == [1]
    assert len(encodings(trained, 0, tokenizer)) == 2  # Rome, Ada: the dog would count as wrong
    evaluated = encode(CLOZE, row, tokenizer, training=False)
    assert len(encodings(evaluated, 0, tokenizer)) == 3
    assert reference(evaluated, 0)["choices"] == ["Rome", "Ada", "the dog"]


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
    ],
)
def test_a_cloze_without_its_answer_stays_but_is_not_trained_on(
    tokenizer: Tokenizer, changes: dict[str, Any], status: Status
) -> None:
    encoded = encode(CLOZE, cloze(**changes), tokenizer, training=False)
    assert statuses(encoded) == [status]
    assert encoded.trainable[0] == status.trained
    told = reference(encoded, 0)
    assert len(told["choices"]) == len(encodings(encoded, 0, tokenizer)) >= 1
    assert (encoded.table["label"][0].as_py() == -1) == (not status.trained)
    assert encoded.report() == ({} if status is Status.KEPT else {status.name.lower(): 1})


def test_a_query_without_placeholder_is_told_with_its_row(tokenizer: Tokenizer) -> None:
    with pytest.raises(
        ValueError, match=r"row 100 has no '@placeholder' in its 'query': correct or remove it"
    ):
        encode(CLOZE, cloze(query="who ran"), tokenizer)


def test_a_very_long_passage_is_cut_for_every_entity_and_the_query_stays(tokenizer: Tokenizer) -> None:
    row = cloze(passage="the cat " * 12_500)
    encoded = encode(CLOZE, row, tokenizer, length=24)
    assert encoded.truncated.tolist() == [True]
    assert [encoding.tokens[-4:] for encoding in encodings(encoded, 0, tokenizer)] == [
        ["so", "rome", "ran", "[SEP]"],
        ["so", "ada", "ran", "[SEP]"],
        ["the", "dog", "ran", "[SEP]"],
    ]
    assert texts(row, CLOZE, tokenizer, length=24)[0].startswith("[CLS] the cat the cat")


def test_spelling_comes_before_case() -> None:
    assert right_choices(["ada", "Ada", "ADA"], ["Ada"]) == [1]
    assert right_choices(["ada", "ADA"], ["Ada"]) == [0, 1]
    assert right_choices(["ada"], []) == []


def test_references_are_json_of_any_script(tokenizer: Tokenizer) -> None:
    encoded = encode(CLOZE, cloze(entities=["Øst", '"東京"'], answers=["Øst"]), tokenizer, training=False)
    assert json.loads(encoded.table["reference"][0].as_py())["choices"] == ["Øst", '"東京"']
