"""Files of one's own: every row once, whatever the blocks, and a line number for what is wrong."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data.sources import text_files as file_blocks
from pipeline.data.sources.text_files import column_names

WORDS = st.text(st.sampled_from('ab ,"\n\té本\u2028;'), max_size=8)


def read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for block in file_blocks.file_blocks(str(path)):
        table = block.read()
        assert (block.first_row, block.rows) == (len(rows), table.num_rows)
        rows += table.to_pylist()
    return rows


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def told(path: Path) -> str:
    """The one line about a file that cannot be used."""
    with pytest.raises(ValueError, match=path.name) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_blocks, "BLOCK_ROWS", 3)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(WORDS, WORDS), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_csv_is_what_pythons_own_reader_says(tmp_path: Path, rows: list[tuple[str, str]], end: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end)
    writer.writerows([("first", "second"), *rows])
    path = written(tmp_path / "rows.csv", text.getvalue())
    assert read(path) == [{"first": first, "second": second} for first, second in rows]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.fixed_dictionaries({"text": WORDS, "label": st.integers(0, 3)}), max_size=12))
def test_jsonl_is_an_object_a_line(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    assert read(written(tmp_path / "rows.jsonl", "\n\n".join(lines))) == rows


def test_quotation_marks_inside_a_csv_value_are_its_own(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", '\ufefftext,label\n5" disk,1\n\n"a ""b"", c",2\n')
    assert column_names(str(path)) == ["text", "label"]
    assert read(path) == [{"text": '5" disk', "label": "1"}, {"text": 'a "b", c', "label": "2"}]


def test_quotation_marks_mean_nothing_in_tsv(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.tsv", 'text\tlabel\n"so it begins\t1\r\nhe said "no"\t2\n')
    assert read(path) == [
        {"text": '"so it begins', "label": "1"},
        {"text": 'he said "no"', "label": "2"},
    ]


def test_conll_sentences_are_rows(tmp_path: Path) -> None:
    words = (
        "-DOCSTART- -X- O\n\n\nAnn NNP B-person\n# SYM O\n\n"
        + "sat\tVBD\tO\n\n" * 4
        + "in IN O\nRome NNP B-place"
    )
    path = written(tmp_path / "rows.conll", words)
    assert column_names(str(path)) == ["tokens", "tags"]
    assert read(path) == [
        {"tokens": ["Ann", "#"], "tags": ["B-person", "O"]},
        *[{"tokens": ["sat"], "tags": ["O"]}] * 4,
        {"tokens": ["in", "Rome"], "tags": ["O", "B-place"]},
    ]


def test_parquet_is_read_as_everywhere(tmp_path: Path) -> None:
    table = pa.table({"text": [f"row {number}" for number in range(10)]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=4)
    assert read(tmp_path / "rows.parquet") == table.to_pylist()
    assert column_names(str(tmp_path / "rows.parquet")) == ["text"]


def test_a_row_of_many_characters_is_read(tmp_path: Path) -> None:
    long = "word " * 40_000
    path = written(tmp_path / "rows.csv", f'text\n"{long}"\n')
    assert read(path) == [{"text": long}]


def test_labels_missing_from_some_objects_are_null(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", '{"text": "a", "score": 1}\n{"text": "b"}\n{"score": 2.5}\n')
    assert read(path) == [
        {"text": "a", "score": 1.0},
        {"text": "b", "score": None},
        {"text": None, "score": 2.5},
    ]


def test_a_file_without_rows_has_no_blocks(tmp_path: Path) -> None:
    for name, content in {"rows.csv": "text,label\n", "rows.jsonl": "\n \n", "rows.conll": ""}.items():
        assert read(written(tmp_path / name, content)) == []


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("rows.csv", "a,b\n1,2\n\n3\n", ": line 4 has 1 values for the 2 columns of the first line: add"),
        (
            "rows.csv",
            'a,b\n1,"2\n3,4\n',
            ": line 3 is not CSV (unexpected end of data): check quotes",
        ),
        ("rows.csv", "a,a\n1,2\n", ": has two columns named 'a': rename one"),
        ("rows.csv", "", ": is empty: add rows"),
        (
            "rows.csv",
            "a\none\nd\xe9j\xe0\n".encode("latin-1"),
            ": line 3 is not UTF-8: save the file in that",
        ),
        ("rows.tsv", "a\tb\n1\t2\t3\n", ": line 2 has 3 values for the 2 columns"),
        ("rows.jsonl", '{"a": 1}\n\n{"a": \n', ": line 3 is not JSON (Expecting value"),
        ("rows.jsonl", '{"a": 1}\n[1]\n', ": line 2 holds '[1]': give an object a line"),
        ("rows.jsonl", '{"a": 1}\n{"a": "x"}\n', ": lines 1 to 2: 'a' cannot be a column"),
        ("rows.jsonl", '{"a": "\\ud800"}\n', ": lines 1 to 1: 'a' cannot be a column"),
        ("rows.conll", "Ann B-person\nsat\n", ": line 2 has a word without a tag: give both"),
        ("rows.txt", "a\n", " ends in '.txt': give a file that ends in .parquet, .csv, .tsv, .jsonl, .conll"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, expected: str
) -> None:
    assert told(written(tmp_path / name, content)).startswith(expected)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in told(tmp_path / "rows.csv")
