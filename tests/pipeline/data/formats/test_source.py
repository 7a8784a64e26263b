"""Columns, templates and labels as they are read, and the line that a mistake in them gives."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.formats.labels import Labels, read_labels
from pipeline.data.formats.source import (
    Origin,
    duplicate_ids,
    id_hashes,
    read_column,
    read_text_lists,
    read_texts,
)

ORIGIN = Origin("toy", "rows.parquet", np.array([7, 9, 30]))
TABLE = pa.table(
    {
        "premise": ["the cat", "a dog", ""],
        "question": ["cause", "effect", "x"],
        "number": [1, 2, 3],
        "idx": [{"paragraph": 1, "question": number} for number in range(3)],
        "words": [["a", "b"], [], ["c"]],
        "a.b": ["x", "y", "z"],
    }
)
INVALID = pa.StringArray.from_buffers(
    3, pa.py_buffer(np.array([0, 1, 2, 4], np.int32)), pa.py_buffer(b"ab\xc3(")
)


def test_a_template_joins_columns_and_words() -> None:
    assert read_texts(TABLE, "{premise} {question}", ORIGIN).to_pylist() == [
        "the cat cause",
        "a dog effect",
        " x",
    ]
    assert read_texts(TABLE, "Q: {question}{{?}}", ORIGIN).to_pylist() == [
        "Q: cause{?}",
        "Q: effect{?}",
        "Q: x{?}",
    ]
    assert read_texts(TABLE, "premise", ORIGIN).to_pylist() == ["the cat", "a dog", ""]


@pytest.mark.parametrize(
    "template", ["{premise", "premise}", "{}", "{{premise}}", "{premise!r}", "{premise:>5}"]
)
def test_a_broken_template_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"template .* cannot be read.*: (write|name columns)"):
        read_texts(TABLE, template, ORIGIN)


def test_fields_of_structs_have_names_with_dots() -> None:
    assert read_column(TABLE, "idx.question", ORIGIN).to_pylist() == [0, 1, 2]
    assert read_column(TABLE, "a.b", ORIGIN).to_pylist() == ["x", "y", "z"]  # unless a column is called so


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent", r"task 'toy': rows\.parquet has no column 'absent' \(found: premise, .*\): rename it"),
        ("idx.answer", r"column 'idx' of rows\.parquet has no field 'answer' \(found: paragraph, question\)"),
        ("premise.x", r"column 'premise' of rows\.parquet has no field 'x' \(found: none\)"),
    ],
)
def test_an_absent_column_is_named_with_those_there_are(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_column(TABLE, name, ORIGIN)


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (
            pa.array(["a", None, "b"]),
            r"task 'toy': rows\.parquet, row 9 has no 'text': fill or remove the row",
        ),
        (pa.nulls(3), r"row 7 has no 'text'"),
        (pa.array([1, 2, 3]), r"column 'text' of rows\.parquet holds int64: give text"),
        (INVALID, r"rows\.parquet, row 30 has a 'text' that is not UTF-8: convert the file"),
    ],
)
def test_what_is_no_text_is_told_with_its_row(column: pa.Array, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_texts(pa.table({"text": column}), "text", ORIGIN)


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array(["a", "b", "a"], pa.large_string()),
        pa.chunked_array([["a"], ["b", "a"]]),
    ],
)
def test_text_may_come_in_any_of_arrows_ways(column: pa.Array) -> None:
    assert read_texts(pa.table({"text": column}), "text", ORIGIN).to_pylist() == ["a", "b", "a"]


def test_lists_are_read_from_wherever_a_table_begins() -> None:
    table = pa.table({"words": [["x"], ["a", "b"], [], ["c"]]}).slice(1)
    lists = read_text_lists(table, "words", ORIGIN)
    assert lists.to_pylist() == [["a", "b"], [], ["c"]]
    assert lists.offsets.to_pylist() == [0, 2, 2, 3]


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (pa.array([["a"], ["b", None], []]), r"row 9 has no 'words'"),
        (pa.array([["a"], [], None]), r"row 30 has no 'words'"),
        (pa.array(["a", "b", "c"]), r"column 'words' of rows\.parquet holds string: give lists"),
        (pa.array([[1], [], []]), r"column 'words' of rows\.parquet holds int64: give text"),
    ],
)
def test_what_is_no_list_of_texts_is_told_with_its_row(column: pa.Array, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_text_lists(pa.table({"words": column}), "words", ORIGIN)


def test_rows_without_a_list_have_an_empty_one_where_they_may() -> None:
    for column in (pa.array([["a"], None, None]), pa.nulls(3), pa.array([[], [], None])):
        lists = read_text_lists(pa.table({"words": column}), "words", ORIGIN, may_lack=True)
        assert lists.to_pylist()[1:] == [[], []]


def test_ids_that_were_there_before_are_counted() -> None:
    pieces = [pa.table({"qid": ["a", "b", "a"]}), pa.table({"qid": ["a", "c", None, None]})]
    hashes = [id_hashes(piece, None, ORIGIN).drop_null().to_numpy() for piece in pieces]
    assert duplicate_ids(hashes) == 2
    assert duplicate_ids([hashes[0][:2]]) == 0
    structs = pa.table({"key": [{"p": 1, "q": 2}, {"p": 1, "q": 3}, {"p": 1, "q": 2}]})
    assert duplicate_ids([id_hashes(structs, "key", ORIGIN).to_numpy()]) == 1
    assert duplicate_ids([id_hashes(structs, "key.q", ORIGIN).to_numpy()]) == 1
    assert id_hashes(structs, None, ORIGIN).null_count == 3, "no column of a known name"
    assert id_hashes(pa.table({"id": pa.array([], pa.int64())}), None, ORIGIN).to_pylist() == []
    with pytest.raises(ValueError, match="has no column 'uid'"):
        id_hashes(structs, "uid", ORIGIN)


def labels(values: list[object], rule: Labels) -> tuple[list[float], list[bool]]:
    read, unlabelled = read_labels(pa.table({"label": values}), rule, ORIGIN)
    assert read.dtype == np.float32
    return read.tolist(), unlabelled.tolist()


def test_labels_may_be_numbers_names_or_truth_values() -> None:
    assert labels([0, 2, 1], Labels(num_labels=3))[0] == [0, 2, 1]
    assert labels(["yes", "no", "yes"], Labels(num_labels=2, names=("no", "yes")))[0] == [1, 0, 1]
    assert labels([True, False, True], Labels(num_labels=2))[0] == [1, 0, 1]
    assert labels([0.25, -3.0, 5.0], Labels())[0] == [0.25, -3.0, 5.0]


def test_minus_one_is_no_label_except_where_it_is_a_value() -> None:
    assert labels([0, -1, 1], Labels(num_labels=2)) == ([0, -1, 1], [False, True, False])
    assert labels([0.5, -1.0, 5.0], Labels(value_range=(0, 5)))[1] == [False, True, False]
    assert labels([0.5, -1.0, 5.0], Labels())[1] == [False, False, False]
    assert labels([0.5, -1.0, 5.0], Labels(value_range=(-2, 5)))[1] == [False, False, False]


@pytest.mark.parametrize(
    ("values", "rule", "problem"),
    [
        ([0, 2, 1], Labels(num_labels=2), r"row 9 has label 2, but the task takes whole numbers from 0 to 1"),
        ([0, 1, -2], Labels(num_labels=2), r"row 30 has label -2, but"),
        ([0, 0.5, 1], Labels(num_labels=2), r"row 9 has label 0\.5, but"),
        ([0, None, 1], Labels(num_labels=2), r"row 9 has label None, but"),
        ([0.0, float("nan"), 1.0], Labels(), r"row 9 has label nan, but the task takes finite numbers"),
        ([0.0, 5.5, 1.0], Labels(value_range=(0, 5)), r"row 9 has label 5\.5, but the task takes 0 to 5"),
        (
            ["yes", "no", "maybe"],
            Labels(num_labels=2, names=("no", "yes")),
            r"row 30 has label 'maybe', but the task's labels are 'no', 'yes': correct it",
        ),
        (["a", "b", "c"], Labels(num_labels=2), r"holds string: give labels as numbers, or name the classes"),
        ([[0], [1], [0]], Labels(num_labels=2), r"holds list.*: give labels as numbers$"),
    ],
)
def test_a_label_that_is_none_is_told_with_its_row(values: list[object], rule: Labels, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        labels(values, rule)
