"""Gold answers and their spans, in each form that the data sets use."""

from typing import Any

import pyarrow as pa
import pytest

from pipeline.data.formats import Origin
from pipeline.data.formats.answers import Answers, find_spans, read_answers, same_words
from pipeline.data.formats.reading import SourceRows

CONTEXT = "The Broncos met Ada; Ada's dog met the broncos in 1755."


def read(columns: dict[str, Any], detected: str | None = None) -> Answers:
    table = pa.table(columns)
    rows = SourceRows(table, Origin("toy", "rows.parquet", range(100, 200)))
    return read_answers(rows, "answers", detected, [CONTEXT] * len(rows))


def texts(answers: Answers) -> list[list[str]]:
    return [[CONTEXT[start:end] for start, end in spans] for spans in answers.spans]


def test_the_ends_of_mrqas_spans_are_inclusive() -> None:
    spans = [{"start": [16, 21], "end": [18, 23]}, {"start": [4], "end": [10]}]
    detected = {"text": ["Ada", "The Broncos"], "char_spans": spans}
    answers = read({"answers": [["Ada", "The Broncos"]], "detected": [detected]}, "detected")
    assert texts(answers) == [["Ada", "Ada", "Broncos"]]


def test_squads_spans_have_no_ends() -> None:
    answers = read({"answers": [{"text": ["1755", " ", "Ada"], "answer_start": [50, 3, 21]}]})
    assert answers.spans == [[(50, 54), (21, 24)]]


@pytest.mark.parametrize(
    ("context", "claims", "answers", "spans"),
    [
        # A claim counts only where the context has the answer's words.
        (CONTEXT, [("Ada", (21, 24)), ("Ada", (0, 3)), ("Ada", (16, 19))], ["Ada"], [(21, 24), (16, 19)]),
        (CONTEXT, [("1755", (0, 4)), ("1755", (-3, 1)), ("1755", (50, 99))], ["1755"], [(50, 54)]),
        # Claims within words count only without others.
        ("known no, not", [("no", (1, 3)), ("no", (6, 8)), ("no", (10, 12))], ["no"], [(6, 8)]),
        ("known no, not", [("no", (1, 3)), ("no", (10, 12))], ["no"], [(1, 3), (10, 12)]),
        ("no-one", [("no", (0, 2)), ("one", (3, 6))], ["no", "one"], [(0, 2), (3, 6)]),
        # Complete words come before another case, and that before parts of words.
        ("theme the The", [], ["the"], [(6, 9)]),
        ("theme The", [], ["the"], [(6, 9)]),
        ("theme", [], ["the"], [(0, 3)]),
        ("US$5 (so)", [], ["$5"], [(2, 4)]),
        ("a+b", [], ["a.b"], []),
        ("", [], ["Rome"], []),
        # The spans of the first answer come first.
        (CONTEXT, [], ["1755", "Rome", "Ada"], [(50, 54), (16, 19), (21, 24)]),
    ],
)
def test_spans_of_a_context(
    context: str, claims: list[tuple[str, tuple[int, int]]], answers: list[str], spans: list[tuple[int, int]]
) -> None:
    assert find_spans(context, claims, answers) == spans


STARTS = [{"text": ["", "Ada"], "answer_start": [0, 16]}, {"text": [], "answer_start": []}, None]


@pytest.mark.parametrize(
    ("column", "gold"),
    [
        (pa.array([["Ada", "", "Rome"], [" "], None]), ["Ada", "Rome"]),
        (pa.array(["Ada", "", None]), ["Ada"]),
        (pa.array(STARTS), ["Ada"]),
    ],
)
def test_answers_may_be_texts_lists_or_structs(column: pa.Array, gold: list[str]) -> None:
    answers = read({"answers": column})
    assert answers.texts == [gold, [], []]
    assert answers.stated.tolist() == [True, True, False]
    assert texts(answers)[0][0] == "Ada"
    assert answers.spans[1:] == [[], []]


def test_same_words_ignore_case_articles_and_punctuation() -> None:
    for first, second in (("the Broncos,", "Broncos"), ("U.S.", "us"), ("%", "%")):
        assert same_words(first, second)
    assert not same_words("Broncos", "Bronco")
    assert not same_words("%", "$")


@pytest.mark.parametrize(
    ("columns", "detected", "problem"),
    [
        ({"answers": [1]}, None, r"column 'answers' of rows\.parquet holds int64: give lists"),
        ({"other": ["x"]}, None, r"rows\.parquet has no column 'answers'"),
        ({"answers": ["x"], "spans": [[1]]}, "spans", r"column 'spans' of rows\.parquet holds list.*MRQA's"),
    ],
)
def test_a_wrong_column_is_refused(columns: dict[str, Any], detected: str | None, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read(columns, detected)
