"""Rows of the real sets: every marked word, tag and answer is found, and leads back to what the set says."""

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
            f"{place}-{kind}"
            for kind in ("corporation", "creative-work", "group", "location", "person", "product")
            for place in "BI"
        ),
    ),
    tags="ner_tags",
)
Encode = Callable[..., tuple[list[dict[str, Any]], EncodedRows]]


@pytest.fixture
def encode(glue_data: Path, pretrained: Tokenizer) -> Encode:
    """Encodes the first rows of `<set>/<split>.parquet` for evaluation; gives those rows and theirs."""

    def run(name: str, columns: Columns, *, rows: int = 400, length: int = 128) -> Any:
        path = glue_data / f"{name}.parquet"
        if not path.is_file():
            pytest.skip(f"{path} is not there")
        table: pa.Table = pq.read_table(path).slice(0, rows)
        origin = Origin(name, str(path), range(table.num_rows))
        return table.to_pylist(), encode_rows(
            table, columns, pretrained, length, for_training=False, origin=origin
        )

    return run


@pytest.mark.parametrize("name", ["SQuAD", "NaturalQuestionsShort", "HotpotQA"])
def test_every_answer_is_marked_where_it_stands(encode: Encode, name: str) -> None:
    source, encoded = encode(
        f"mrqa-workshop/mrqa/{name}/validation", SpanColumns(detected="detected_answers")
    )
    assert encoded.trainable.all()
    for row, columns in zip(source, encoded.table.to_pylist(), strict=True):
        told = json.loads(columns["reference"])
        assert told["answers"] == row["answers"]
        marks = np.array(columns["token_marks"])
        allowed, spans = marks[marks != -100], np.array(told["spans"])
        assert allowed.shape == (len(spans),)
        begins, ends = spans[np.isin(allowed, (1, 3)), 0], spans[np.isin(allowed, (2, 3)), 1]
        texts = [row["context"][begin:end] for begin, end in zip(begins, ends, strict=True) if begin != -1]
        assert texts
        for text in texts:
            # A token may reach further than the answer: `1,000m` for `1,000`.
            assert any(same_words(text, gold) or gold.lower() in text.lower() for gold in row["answers"])


def test_tags_stand_at_the_words_that_have_them(encode: Encode, pretrained: Tokenizer) -> None:
    source, encoded = encode("leondz/wnut_17/wnut_17/validation", NER, rows=1009)
    assert encoded.report() == {}
    seen = 0
    for row, columns in zip(source, encoded.table.to_pylist(), strict=True):
        told = json.loads(columns["reference"])
        assert told["tags"] == [NER.names[tag] for tag in row["ner_tags"]]
        marks = [mark for mark in columns["token_marks"] if mark != -100]
        assert marks == [row["ner_tags"][word] for word in told["words"]]
        seen += len(marks)
    assert seen > 0.999 * sum(len(row["tokens"]) for row in source)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_both_words_of_wic_are_marked(encode: Encode, pretrained: Tokenizer, split: str) -> None:
    marks = tuple(
        CharacterMark(text=number, start=f"start{number + 1}", end=f"end{number + 1}") for number in (0, 1)
    )
    columns = MarkedColumns(texts=("sentence1", "sentence2"), marks=(marks[0], marks[1]), labels=BINARY)
    source, encoded = encode(f"aps/super_glue/wic/{split}", columns)
    assert encoded.report() == {}
    check_marks(
        source, encoded, pretrained, lambda row, n: row[f"sentence{n}"][row[f"start{n}"] : row[f"end{n}"]]
    )


@pytest.mark.parametrize("split", ["train", "validation"])
def test_both_words_of_wsc_are_marked(encode: Encode, pretrained: Tokenizer, split: str) -> None:
    columns = MarkedColumns(
        texts=("text",),
        marks=(
            WordMark(text=0, index="span1_index", words="span1_text"),
            WordMark(text=0, index="span2_index", words="span2_text"),
        ),
        labels=BINARY,
    )
    source, encoded = encode(f"aps/super_glue/wsc/{split}", columns)
    assert encoded.report() == {}
    check_marks(source, encoded, pretrained, lambda row, n: row[f"span{n}_text"])


def check_marks(
    source: list[dict[str, Any]],
    encoded: EncodedRows,
    tokenizer: Tokenizer,
    word: Callable[[dict[str, Any], int], str],
) -> None:
    for row, columns in zip(source, encoded.table.to_pylist(), strict=True):
        for number in (1, 2):
            ids = [
                token
                for token, mark in zip(columns["input_ids"], columns["token_marks"], strict=True)
                if mark == number
            ]
            if "text" in row and f" {word(row, 3 - number)} ".lower() in f" {word(row, number)} ".lower():
                assert ids  # the `her` of `her mother` is the other word
                continue
            assert ids == tokenizer.encode(word(row, number), add_special_tokens=False).ids


def test_copa_and_record_have_one_right_choice_among_their_encodings(encode: Encode) -> None:
    alternatives = ChoiceColumns(text="{premise} {question}", choices=("choice1", "choice2"))
    source, encoded = encode("aps/super_glue/copa/train", alternatives)
    assert encoded.table["label"].to_pylist() == [row["label"] for row in source]
    assert {len(lengths) for lengths in encoded.table["encoding_lengths"].to_pylist()} == {2}
    source, encoded = encode("aps/super_glue/record/train", ClozeColumns(), length=384)
    assert encoded.report() == {}
    for row, columns in zip(source, encoded.table.to_pylist(), strict=True):
        told = json.loads(columns["reference"])
        assert told["choices"][int(columns["label"])] in row["answers"]
        assert len(columns["encoding_lengths"]) == len(told["choices"]) == len(set(row["entities"]))


def test_multirc_tells_its_questions(encode: Encode) -> None:
    columns = TextColumns(
        texts=("paragraph", "{question} {answer}"), labels=BINARY, question=("idx.paragraph", "idx.question")
    )
    source, encoded = encode("aps/super_glue/multirc/validation", columns)
    keys = [tuple(json.loads(told)["question"]) for told in encoded.table["reference"].to_pylist()]
    assert keys == [(row["idx"]["paragraph"], row["idx"]["question"]) for row in source]
    assert len(set(keys)) < len(keys) / 3


def test_scitails_labels_are_names(encode: Encode) -> None:
    labels = Labels(num_labels=2, names=("entails", "neutral"))
    source, encoded = encode(
        "allenai/scitail/tsv_format/validation", TextColumns(texts=("premise", "hypothesis"), labels=labels)
    )
    assert encoded.table["label"].to_pylist() == [int(row["label"] == "neutral") for row in source]
