"""Gold answers and their places, in each of the ways that the sets give them."""

from typing import Any

import pyarrow as pa
import pytest

from pipeline.data.formats.answers import places_in, read_answers, read_places, same_words
from pipeline.data.formats.source import Origin

ORIGIN = Origin("toy", "rows.parquet", range(100, 200))
CONTEXT = "The Broncos met Ada; Ada's dog met the broncos in 1755."


def found(
    context: str, answers: list[str], claimed: list[tuple[str, tuple[int, int]]] | None = None
) -> list[str]:
    return [context[start:end] for start, end in places_in(context, claimed or [], answers)]


def read(columns: dict[str, Any], contexts: list[str], detected: str | None = None) -> list[list[str]]:
    gold, places = read_places(pa.table(columns), "answers", detected, contexts, ORIGIN)
    assert len(gold) == len(places)
    return [[context[start:end] for start, end in own] for context, own in zip(contexts, places, strict=True)]


def test_the_ends_of_mrqas_places_are_inclusive() -> None:
    detected = {
        "text": ["Ada", "The Broncos"],
        "char_spans": [
            {"start": [16, 21], "end": [18, 23]},
            {"start": [4], "end": [10]},
        ],
    }
    columns = {"answers": [["Ada", "The Broncos"]], "detected": [detected]}
    assert read(columns, [CONTEXT], "detected") == [["Ada", "Ada", "Broncos"]]


def test_squads_places_have_no_ends() -> None:
    columns = {"answers": [{"text": ["1755", "Ada"], "answer_start": [50, 21]}]}
    assert read(columns, [CONTEXT]) == [["1755", "Ada"]]
    [places] = read_places(pa.table(columns), "answers", None, [CONTEXT], ORIGIN)[1]
    assert places == [(50, 54), (21, 24)]


def test_a_claimed_place_counts_only_where_the_words_are() -> None:
    assert found(CONTEXT, ["Ada"], [("Ada", (21, 24)), ("Ada", (0, 3)), ("Ada", (16, 19))]) == ["Ada", "Ada"]
    # All of them are wrong: the context is searched.
    wrong = [("1755", (0, 4)), ("1755", (-3, 1)), ("1755", (50, 99)), ("1755", (7, 7))]
    assert found(CONTEXT, ["1755"], wrong) == ["1755"]


def test_claimed_places_within_words_count_only_without_others() -> None:
    context = "who is known for no wings, not a novel"
    claimed = [("no", (8, 10)), ("no", (17, 19)), ("no", (27, 29))]
    assert places_in(context, claimed, ["no"]) == [(17, 19)]
    assert places_in(context, claimed[::2], ["no"]) == [(8, 10), (27, 29)]
    assert places_in("no", [("no", (0, 2))], ["no"]) == [(0, 2)]
    assert places_in("no-one", [("no", (0, 2)), ("one", (3, 6))], ["no", "one"]) == [(0, 2), (3, 6)]


def test_whole_words_come_before_case_and_case_before_parts_of_words() -> None:
    assert found("theme the The", ["the"]) == ["the"]
    assert found("theme The", ["the"]) == ["The"]
    assert found("theme", ["the"]) == ["the"]
    assert found("US$5 (so)", ["$5"]) == ["$5"]
    assert found("a+b", ["a.b"]) == []


def test_the_first_answer_is_looked_for_first() -> None:
    assert found(CONTEXT, ["1755", "Rome", "Ada"]) == ["1755", "Ada", "Ada"]


def test_an_answer_that_is_nowhere_has_no_place() -> None:
    assert found(CONTEXT, ["Rome"]) == []
    assert found("", ["Rome"]) == []
    assert read({"answers": [["Rome"], [" "], [], None]}, [CONTEXT] * 4) == [[]] * 4


@pytest.mark.parametrize(
    ("column", "gold"),
    [
        (pa.array([["Ada", "", "Rome"], [], None]), [["Ada", "Rome"], [], []]),
        (pa.array(["Ada", "", None]), [["Ada"], [], []]),
        (
            pa.array(
                [{"text": ["", "Ada"], "answer_start": [0, 16]}, {"text": [], "answer_start": []}, None]
            ),
            [["Ada"], [], []],
        ),
    ],
)
def test_answers_may_be_texts_lists_or_structs(column: pa.Array, gold: list[list[str]]) -> None:
    answers, starts = read_answers(pa.table({"answers": column}), "answers", ORIGIN)
    assert answers == gold
    assert all(len(own) in (0, len(texts)) for own, texts in zip(starts, answers, strict=True))
    assert [0] not in starts  # that of the empty answer went with it


def test_places_differ_from_answers_in_case_articles_and_punctuation_alone() -> None:
    assert same_words("the Broncos,", "Broncos")
    assert same_words("U.S.", "us")
    assert same_words("%", "%")
    assert not same_words("Broncos", "Bronco")
    assert not same_words("%", "$")


@pytest.mark.parametrize(
    ("columns", "detected", "problem"),
    [
        ({"answers": [1]}, None, r"column 'answers' of rows\.parquet holds int64: give lists"),
        ({"other": ["x"]}, None, r"rows\.parquet has no column 'answers'"),
        (
            {"answers": ["x"], "spans": [[1]]},
            "spans",
            r"column 'spans' of rows\.parquet holds list.*give MRQA's structs",
        ),
    ],
)
def test_a_column_of_something_else_is_refused(
    columns: dict[str, Any], detected: str | None, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        read(columns, ["context"], detected)
