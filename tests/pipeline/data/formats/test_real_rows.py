"""Rows of the real sets: every marked word, tag and answer has its tokens, and they lead back to the row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from pipeline.data.formats import (
    CharacterMark,
    ChoiceColumns,
    ClozeColumns,
    Columns,
    EncodedRows,
    Labels,
    MarkedColumns,
    Origin,
    SpanColumns,
    TaggingColumns,
    TextColumns,
    WordMark,
    encode_rows,
)
from pipeline.data.formats.answers import same_words

BINARY = Labels(num_labels=2)
NER = TaggingColumns(
    names=(
        "O",
        *(
            f"{prefix}-{kind}"
            for kind in ("corporation", "creative-work", "group", "location", "person", "product")
            for prefix in "BI"
        ),
    ),
    tags="ner_tags",
)
Encode = Callable[..., tuple[list[dict[str, Any]], EncodedRows]]


@pytest.fixture
def encode(glue_data: Path, pretrained: Tokenizer) -> Encode:
    """Encodes the first rows of `<set>/<split>.parquet` for evaluation; returns source rows and encoded rows."""

    def run(name: str, columns: Columns, *, rows: int = 400, length: int = 128) -> Any:
        path = glue_data / f"{name}.parquet"
        if not path.is_file():
            pytest.skip(f"{path} is missing")
        table: pa.Table = pq.read_table(path).slice(0, rows)
        origin = Origin(name, str(path), range(table.num_rows))
        return table.to_pylist(), encode_rows(
            table, columns, pretrained, length, for_training=False, origin=origin
        )

    return run


@pytest.mark.parametrize("name", ["SQuAD", "NaturalQuestionsShort", "HotpotQA"])
def test_every_answer_is_marked_at_its_tokens(encode: Encode, name: str) -> None:
    source, encoded = encode(
        f"mrqa-workshop/mrqa/{name}/validation", SpanColumns(detected="detected_answers")
    )
    assert encoded.trainable.all()
    for row, columns in zip(source, encoded.table.to_pylist(), strict=True):
        reference = json.loads(columns["reference"])
        assert reference["answers"] == row["answers"]
        marks = np.array(columns["token_marks"])
        allowed, spans = marks[marks != -100], np.array(reference["spans"])
        assert allowed.shape == (len(spans),)
        begins, ends = spans[np.isin(allowed, (1, 3)), 0], spans[np.isin(allowed, (2, 3)), 1]
        texts = [row["context"][begin:end] for begin, end in zip(begins, ends, strict=True) if begin != -1]
        assert texts
        for text in texts:
            # A token may reach further than the answer: `1,000m` for `1,000`.
            assert any(same_words(text, gold) or gold.lower() in text.lower() for gold in row["answers"])


def test_tags_are_those_of_the_words(encode: Encode) -> None:
    source, encoded = encode("leondz/wnut_17/wnut_17/validation", NER, rows=1009)
    assert encoded.report() == {}
    seen = 0
    for row, columns in zip(source, encoded.table.to_pylist(), strict=True):
        reference = json.loads(columns["reference"])
        assert reference["tags"] == [NER.names[tag] for tag in row["ner_tags"]]
        marks = [mark for mark in columns["token_marks"] if mark != -100]
        assert marks == [row["ner_tags"][word] for word in reference["words"]]
        seen += len(marks)
    assert seen > 0.999 * sum(len(row["tokens"]) for row in source)


WIC = MarkedColumns(
    texts=("sentence1", "sentence2"),
    marks=(
        CharacterMark(text=0, start="start1", end="end1"),
        CharacterMark(text=1, start="start2", end="end2"),
    ),
    labels=BINARY,
)
WSC = MarkedColumns(
    texts=("text",),
    marks=(
        WordMark(text=0, index="span1_index", words="span1_text"),
        WordMark(text=0, index="span2_index", words="span2_text"),
    ),
    labels=BINARY,
)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize(("name", "columns"), [("wic", WIC), ("wsc", WSC)])
def test_both_words_are_marked(
    encode: Encode, pretrained: Tokenizer, name: str, columns: MarkedColumns, split: str
) -> None:
    source, encoded = encode(f"aps/super_glue/{name}/{split}", columns)
    assert encoded.report() == {}
    for row, encoding in zip(source, encoded.table.to_pylist(), strict=True):
        words = [
            row[f"span{n}_text"] if name == "wsc" else row[f"sentence{n}"][row[f"start{n}"] : row[f"end{n}"]]
            for n in (1, 2)
        ]
        ids, marks = np.array(encoding["input_ids"]), np.array(encoding["token_marks"])
        for mark, word, other in ((1, *words), (2, *words[::-1])):
            marked = ids[marks == mark].tolist()
            if name == "wsc" and f" {other} ".lower() in f" {word} ".lower():
                assert marked  # the `her` of `her mother` is the other word
            else:
                assert marked == pretrained.encode(word, add_special_tokens=False).ids


def test_copa_and_record_have_one_right_choice_among_their_encodings(encode: Encode) -> None:
    alternatives = ChoiceColumns(text="{premise} {question}", choices=("choice1", "choice2"))
    source, encoded = encode("aps/super_glue/copa/train", alternatives)
    assert encoded.table["label"].to_pylist() == [row["label"] for row in source]
    assert {len(lengths) for lengths in encoded.table["encoding_lengths"].to_pylist()} == {2}
    source, encoded = encode("aps/super_glue/record/train", ClozeColumns(), length=384)
    assert encoded.report() == {}
    for row, columns in zip(source, encoded.table.to_pylist(), strict=True):
        reference = json.loads(columns["reference"])
        assert reference["choices"][int(columns["label"])] in row["answers"]
        assert len(columns["encoding_lengths"]) == len(reference["choices"]) == len(set(row["entities"]))


def test_references_of_multirc_name_its_questions(encode: Encode) -> None:
    columns = TextColumns(
        texts=("paragraph", "{question} {answer}"), labels=BINARY, question=("idx.paragraph", "idx.question")
    )
    source, encoded = encode("aps/super_glue/multirc/validation", columns)
    keys = [tuple(json.loads(reference)["question"]) for reference in encoded.table["reference"].to_pylist()]
    assert keys == [(row["idx"]["paragraph"], row["idx"]["question"]) for row in source]
    assert len(set(keys)) < len(keys) / 3


def test_labels_of_scitail_are_names(encode: Encode) -> None:
    labels = Labels(num_labels=2, names=("entails", "neutral"))
    source, encoded = encode(
        "allenai/scitail/tsv_format/validation", TextColumns(texts=("premise", "hypothesis"), labels=labels)
    )
    assert encoded.table["label"].to_pylist() == [int(row["label"] == "neutral") for row in source]
