"""Text files: every row is read once for any cut into blocks, and errors name the line."""

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

from pipeline.data.sources import text_files
from pipeline.data.sources.text_files import column_names, file_blocks

WORDS = st.text(st.sampled_from('ab ,"\n\té本\u2028\u00a0;'), max_size=8)
one_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "BLOCK_ROWS", 3)


def read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for block in file_blocks(str(path)):
        table = block.read()
        assert (block.first_row, block.rows) == (len(rows), table.num_rows)
        rows += table.to_pylist()
    return rows


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@one_folder
@given(st.lists(st.tuples(WORDS, WORDS), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_csv_is_read_as_pythons_csv_module_writes_it(
    tmp_path: Path, rows: list[tuple[str, str]], end: str
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows([("first", "second"), *rows])
    path = write(tmp_path / "rows.csv", text.getvalue())
    assert read(path) == [{"first": first, "second": second} for first, second in rows]


@one_folder
@given(st.lists(st.fixed_dictionaries({"text": WORDS, "label": st.integers(0, 3)}), max_size=12))
def test_jsonl_is_an_object_a_line(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    assert read(write(tmp_path / "rows.jsonl", "\n\u00a0\n".join(lines))) == rows


CONLL = (
    "-DOCSTART- -X- O\n\n\nAnn NNP B-person\n# SYM O\n\n"
    + "sat\tVBD\tO\n\n" * 4
    + "in IN O\nRome NNP B-place"
)
FILES: dict[str, tuple[str, str, list[dict[str, Any]]]] = {
    "a quotation mark inside a CSV value is a character": (
        "rows.csv",
        '\ufefftext,label\n5" disk,1\n\n"a ""b"", c",2\n',
        [{"text": '5" disk', "label": "1"}, {"text": 'a "b", c', "label": "2"}],
    ),
    "quotation marks in TSV are characters": (
        "rows.tsv",
        'text\tlabel\n"so it begins\t1\r\nhe said "no"\t2\n',
        [{"text": '"so it begins', "label": "1"}, {"text": 'he said "no"', "label": "2"}],
    ),
    "a CoNLL sentence is a row": (
        "rows.conll",
        CONLL,
        [
            {"tokens": ["Ann", "#"], "tags": ["B-person", "O"]},
            *[{"tokens": ["sat"], "tags": ["O"]}] * 4,
            {"tokens": ["in", "Rome"], "tags": ["O", "B-place"]},
        ],
    ),
    "a field that an object lacks is null": (
        "rows.jsonl",
        '{"text": "a", "score": 1}\n{"text": "b"}\n{"score": 2.5}\n',
        [{"text": "a", "score": 1.0}, {"text": "b", "score": None}, {"text": None, "score": 2.5}],
    ),
    "a value may be long": ("rows.csv", f'text\n"{"word " * 40_000}"\n', [{"text": "word " * 40_000}]),
}


@pytest.mark.parametrize(("name", "content", "rows"), FILES.values(), ids=FILES)
def test_a_file_is_read(tmp_path: Path, name: str, content: str, rows: list[dict[str, Any]]) -> None:
    path = write(tmp_path / name, content)
    assert read(path) == rows
    assert column_names(str(path)) == list(rows[0])


def test_parquet_is_read_by_suffix(tmp_path: Path) -> None:
    table = pa.table({"text": [f"row {number}" for number in range(10)]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=4)
    assert read(tmp_path / "rows.parquet") == table.to_pylist()
    assert column_names(str(tmp_path / "rows.parquet")) == ["text"]


@pytest.mark.parametrize(("suffix", "content"), [("csv", "text,label\n"), ("jsonl", "\n \n"), ("conll", "")])
def test_a_file_without_rows_has_no_blocks(tmp_path: Path, suffix: str, content: str) -> None:
    assert file_blocks(str(write(tmp_path / f"rows.{suffix}", content))) == []


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        ("csv", "a,b\n1,2\n\n3\n", ": line 4 has 1 values for the 2 columns of the first line: add"),
        ("csv", 'a,b\n1,"2\n3,4\n', ": line 3 is not CSV (unexpected end of data): check quotes"),
        ("csv", "a,a\n1,2\n", ": has two columns named 'a': rename one"),
        ("csv", "", ": is empty: add rows"),
        ("csv", b"a\none\nd\xe9j\xe0\n", ": line 3 is not UTF-8: save the file in that"),
        ("tsv", "a\tb\n1\t2\t3\n", ": line 2 has 3 values for the 2 columns"),
        ("jsonl", '{"a": 1}\n\n{"a": \n', ": line 3 is not JSON (Expecting value"),
        ("jsonl", '{"a": 1}\n[1]\n', ": line 2 holds '[1]': give an object a line"),
        ("jsonl", '{"a": 1}\n{"a": "x"}\n', ": lines 1 to 2: 'a' cannot be a column"),
        ("jsonl", '{"a": "\\ud800"}\n', ": lines 1 to 1: 'a' cannot be a column"),
        ("conll", "Ann B-person\nsat\n", ": line 2 has a word without a tag: give both"),
        ("txt", "a\n", " ends in '.txt': give a file that ends in .parquet, .csv, .tsv, .jsonl, .conll"),
        ("csv", None, " cannot be read (No such file or directory): check the path"),
    ],
)
def test_an_error_is_one_line_with_the_line_number(
    tmp_path: Path, suffix: str, content: str | bytes | None, message: str
) -> None:
    path = tmp_path / f"rows.{suffix}"
    if content is not None:
        write(path, content)
    with pytest.raises(ValueError, match=path.name) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)
