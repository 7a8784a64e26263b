"""Columns, templates, lists and ids of source rows, and the error for each mistake in them."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.formats.reading import Origin, SourceRows, duplicate_ids, id_hashes

ORIGIN = Origin("toy", "rows.parquet", np.array([7, 9, 30]))
COLUMNS = {
    "premise": ["the cat", "a dog", ""],
    "question": ["cause", "effect", "x"],
    "idx": [{"paragraph": 1, "question": number} for number in range(3)],
    "a.b": [{"c": text} for text in "xyz"],
}
ROWS = SourceRows(pa.table(COLUMNS), ORIGIN)
INVALID = pa.array([b"a", b"b", b"\xc3("], pa.binary()).view(pa.string())


def column(values: pa.Array) -> SourceRows:
    return SourceRows(pa.table({"column": values}), ORIGIN)


@pytest.mark.parametrize(
    ("spec", "texts"),
    [
        ("premise", ["the cat", "a dog", ""]),
        ("{premise} {question}", ["the cat cause", "a dog effect", " x"]),
        ("Q: {question}{{?}}", ["Q: cause{?}", "Q: effect{?}", "Q: x{?}"]),
    ],
)
def test_a_template_joins_columns_and_words(spec: str, texts: list[str]) -> None:
    assert ROWS.texts(spec).to_pylist() == texts


@pytest.mark.parametrize(
    "template", ["{premise", "premise}", "{}", "{{premise}}", "{premise!r}", "{premise:>5}"]
)
def test_a_broken_template_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"template .* cannot be read.*: (write|name columns)"):
        ROWS.texts(template)


def test_a_name_with_dots_is_a_column_or_a_field_of_a_struct() -> None:
    assert ROWS.column("idx.question").to_pylist() == [0, 1, 2]
    assert ROWS.column("a.b").to_pylist() == [{"c": "x"}, {"c": "y"}, {"c": "z"}]
    assert ROWS.column("a.b.c").to_pylist() == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent", r"task 'toy': rows\.parquet has no column 'absent' \(found: premise, .*\): rename it"),
        ("idx.answer", r"column 'idx' of rows\.parquet has no field 'answer' \(found: paragraph, question\)"),
        ("premise.x", r"column 'premise' of rows\.parquet has no field 'x' \(found: none\)"),
    ],
)
def test_a_missing_column_is_refused_with_the_known_names(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ROWS.column(name)


@pytest.mark.parametrize(
    ("values", "method", "problem"),
    [
        (pa.array(["a", None, "b"]), "texts", r"'toy': rows\.parquet, row 9 has no 'column': fill or remove"),
        (pa.nulls(3), "texts", "row 7 has no 'column'"),
        (pa.array([1, 2, 3]), "texts", r"column 'column' of rows\.parquet holds int64: give text"),
        (INVALID, "texts", "row 30 has a 'column' that is not UTF-8: convert the file"),
        (pa.array([["a"], ["b", None], []]), "text_lists", "row 9 has no 'column'"),
        (pa.array([["a"], [], None]), "text_lists", "row 30 has no 'column'"),
        (
            pa.array(["a", "b", "c"]),
            "text_lists",
            r"column 'column' of rows\.parquet holds string: give lists",
        ),
        (pa.array([[1], [], []]), "text_lists", r"column 'column' of rows\.parquet holds int64: give text"),
    ],
)
def test_an_unsuitable_value_is_refused_with_its_row(values: pa.Array, method: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        getattr(column(values), method)("column")


def test_text_may_have_any_of_arrows_types() -> None:
    plain = pa.array(["a", "b", "a"])
    for values in (
        plain.dictionary_encode(),
        plain.cast(pa.large_string()),
        pa.chunked_array([plain[:1], plain[1:]]),
    ):
        assert column(values).texts("column").equals(plain)


def test_offsets_of_lists_start_at_0_in_a_sliced_table() -> None:
    table = pa.table({"words": [["x"], ["a", "b"], [], ["c"]]}).slice(1)
    lists = SourceRows(table, ORIGIN).text_lists("words")
    assert lists.to_pylist() == [["a", "b"], [], ["c"]]
    assert lists.offsets.to_pylist() == [0, 2, 2, 3]


def test_a_missing_list_is_empty_where_it_may_be_missing() -> None:
    for values in (pa.array([["a"], None, None]), pa.nulls(3), pa.array([[], [], None])):
        assert column(values).text_lists("column", may_lack=True).to_pylist()[1:] == [[], []]


def test_duplicate_ids_are_counted() -> None:
    pieces = [pa.table({"qid": ["a", "b", "a"]}), pa.table({"qid": ["a", "c", None, None]})]
    hashes = [id_hashes(piece, None, ORIGIN).drop_null().to_numpy() for piece in pieces]
    assert duplicate_ids(hashes) == 2
    assert duplicate_ids([hashes[0][:2]]) == 0
    structs = pa.table({"key": [{"p": 1, "q": 2}, {"p": 1, "q": 3}, {"p": 1, "q": 2}]})
    assert duplicate_ids([id_hashes(structs, "key", ORIGIN).to_numpy()]) == 1
    assert duplicate_ids([id_hashes(structs, "key.q", ORIGIN).to_numpy()]) == 1
    assert id_hashes(structs, None, ORIGIN).null_count == 3, "no column with a usual name"
    assert id_hashes(pa.table({"id": pa.array([], pa.int64())}), None, ORIGIN).to_pylist() == []
    with pytest.raises(ValueError, match="has no column 'uid'"):
        id_hashes(structs, "uid", ORIGIN)
