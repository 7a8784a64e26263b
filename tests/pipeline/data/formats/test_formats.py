"""All formats through `encode_rows`: tables without rows, and mistakes in rows with their numbers."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, processors

from pipeline.data import formats
from tests.pipeline.data.formats.harness import Encode, encode_columns

TWO = formats.Labels(num_labels=2)
MARK = formats.CharacterMark(text=0, start="start", end="end")
ROWS: dict[str, list[Any]] = {
    "text": ["the", "cat"],
    "start": [0, 0],
    "end": [1, 1],
    "label": [0, 1],
    "choices": [["a", "b"], ["c", "d"]],
    "query": ["who @placeholder", "@placeholder ran"],
    "words": [["the"], ["cat", "ran"]],
    "tags": [[0], [1, 0]],
}
FORMATS: dict[str, formats.Columns] = {
    "text": formats.TextColumns(texts=("text",), labels=TWO),
    "marked": formats.MarkedColumns(texts=("text", "text"), marks=(MARK, MARK), labels=TWO),
    "choice": formats.ChoiceColumns(text="text", choices=("choices",)),
    "choices": formats.ChoiceColumns(text="text", choices=("text", "text")),
    "cloze": formats.ClozeColumns(passage="text", choices="choices", answers="choices"),
    "tagging": formats.TaggingColumns(names=("O", "B", "I"), words="words"),
    "span": formats.SpanColumns(question="text", context="text", answers="choices"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_no_rows_are_encoded_as_no_rows(encode: Encode, kind: str) -> None:
    empty = pa.table(ROWS).slice(0, 0)
    assert encode(FORMATS[kind], {name: empty[name] for name in ROWS}, training=False).statuses == []


def test_an_encoding_holds_a_text_or_a_pair() -> None:
    assert [formats.texts_per_encoding(columns) for columns in FORMATS.values()] == [1, 2, 2, 2, 2, 1, 2]


@pytest.mark.parametrize(
    ("kind", "changes", "problem"),
    [
        ("text", {"text": ["the", None]}, r"task 'toy': rows\.parquet, row 101 has no 'text'"),
        ("marked", {"start": ["0", "0"]}, "column 'start' of .* holds string: give whole numbers"),
        ("choice", {"label": [0, 2]}, "row 101 has label 2, but the numbers of its 2 choices are 0 to 1"),
        ("choice", {"label": [0, -2]}, "row 101 has label -2, but the numbers"),
        ("choices", {"label": [0, 0.5]}, r"row 101 has label 0\.5, but the numbers"),
        ("cloze", {"query": ["@placeholder", "x"]}, "row 101 has no '@placeholder' in its 'query': correct"),
        ("tagging", {"tags": [[0], [0, 3]]}, "row 101 has tag 3, but the task's 3 tags are O, B, I: correct"),
        ("tagging", {"tags": [[0], [-2, 0]]}, "row 101 has tag -2"),
        ("tagging", {"tags": [["O"], ["O", "P"]]}, "row 101 has tag 'P'"),
        ("tagging", {"tags": [[0.5], [0.5, 0.5]]}, "column 'tags' of .* holds lists of double: give tags"),
        ("tagging", {"tags": [0, 1]}, "column 'tags' of .* holds int64: give lists"),
        ("tagging", {"words": [["a"], ["b", None]]}, "row 101 has no 'words'"),
    ],
)
def test_a_mistake_is_refused_with_its_row(
    encode: Encode, kind: str, changes: Mapping[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        encode(FORMATS[kind], {**ROWS, **changes})


def test_a_tokenizer_without_a_first_token_is_refused_for_spans(tokenizer: Tokenizer) -> None:
    bare = Tokenizer.from_str(tokenizer.to_str())
    bare.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    with pytest.raises(ValueError, match=r"task 'toy': the tokenizer adds no token before a text"):
        encode_columns(FORMATS["span"], ROWS, tokenizer=bare)
