"""A model that is always right gets 100: its outputs are made from the labels and marks that it is trained on.

Only what a cut took away may cost anything: an answer that no window holds whole, the words behind a cut.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from pipeline.data.formats import (
    ChoiceColumns,
    ClozeColumns,
    Columns,
    EncodedRows,
    Origin,
    SpanColumns,
    Status,
    TaggingColumns,
    encode_rows,
)
from pipeline.tasks.decoding import decode
from pipeline.tasks.metrics.classification import METRICS
from pipeline.tasks.metrics.question_answering import QA_METRICS
from pipeline.tasks.metrics.tagging import TAGGING_METRICS

ROWS = 200
TAGS = ("O", "B-person", "I-person", "B-creative-work", "I-creative-work")
# One to four tokens each; an answer of articles alone has no F1, so they come first and are never all of it.
WORDS = ("the", "a", "Rome", "U.S.", "half-time", "naïve", "1,000", "o'clock", "(so)", "cats", "x", "東京")
LONGEST_ANSWER = 6


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable[..., str]) -> Tokenizer:
    """Pieces of the words above."""
    known = ("rome", "u", "s", ".", "half", "-", "time", "1", ",", "000", "o", "'", "(", ")", "so", "x", "東")
    return Tokenizer.from_file(
        f"{make_tokenizer(Path(tmp_path_factory.mktemp('oracle')), *known)}/tokenizer.json"
    )


def prepare(columns: Columns, rows: list[dict[str, Any]], tokenizer: Tokenizer, length: int) -> EncodedRows:
    origin = Origin("oracle", "rows", range(len(rows)))
    return encode_rows(
        pa.Table.from_pylist(rows), columns, tokenizer, length, for_training=False, origin=origin
    )


def references(encoded: EncodedRows) -> list[dict[str, Any]]:
    return [json.loads(reference) for reference in encoded.table["reference"].to_pylist()]


def question(draw: random.Random, *, answered: bool) -> dict[str, Any]:
    words = draw.choices(WORDS, k=draw.randint(1, 80))
    first = draw.randrange(len(words))
    words[first] = draw.choice(WORDS[2:])
    answer = " ".join(words[first : first + draw.randint(1, LONGEST_ANSWER)])
    return {
        "question": " ".join(draw.choices(WORDS, k=draw.randint(1, 8))),
        "context": " ".join(words),
        "answers": ["something else", answer] if answered else [],
    }


def span_outputs(encoded: EncodedRows, draw: random.Random) -> list[list[np.ndarray]]:
    """Right beyond doubt, each window on a level of its own."""
    rows = []
    for row in encoded.table.to_pylist():
        ends = np.cumsum(row["encoding_lengths"])[:-1]
        windows = [marks[marks != -100] for marks in np.split(np.array(row["token_marks"]), ends)]
        right = [np.stack([marks & 1, marks >> 1], axis=1) for marks in windows]
        rows.append([(8.0 * own + draw.uniform(-50, 50)).astype(np.float32) for own in right])
    return rows


@pytest.mark.parametrize(("length", "stride"), [(20, 6), (40, 18), (64, 24), (512, 128)])
def test_answers_over_windows(tokenizer: Tokenizer, length: int, stride: int) -> None:
    draw = random.Random(length)
    rows = [question(draw, answered=True) for _ in range(ROWS)]
    encoded = prepare(SpanColumns(stride=stride), rows, tokenizer, length)
    told, outputs = references(encoded), span_outputs(encoded, draw)
    assert (max(map(len, outputs)) > 1) == (length < 512)
    whole = [row for row in range(ROWS) if encoded.status[row] == Status.KEPT]
    cut = [row for row in range(ROWS) if encoded.status[row] == Status.ANSWER_CUT]
    assert len(whole) + len(cut) == ROWS
    assert len(whole) > len(cut)
    assert bool(cut) == (length < 64)

    predictions = [decode("span", outputs[row], told[row]) for row in whole]
    assert predictions == [rows[row]["answers"][1] for row in whole]
    for name in ("em", "token_f1"):
        assert QA_METRICS[name](predictions, [told[row] for row in whole]) == 100.0

    assert {decode("span", outputs[row], told[row], null_threshold=0.0) for row in cut} <= {""}


def test_questions_without_an_answer(tokenizer: Tokenizer) -> None:
    draw = random.Random(0)
    rows = [question(draw, answered=draw.random() < 0.5) for _ in range(ROWS)]
    encoded = prepare(SpanColumns(stride=24), rows, tokenizer, 64)
    told, outputs = references(encoded), span_outputs(encoded, draw)
    predictions = [
        decode("span", given, known, null_threshold=0.0) for given, known in zip(outputs, told, strict=True)
    ]
    assert {prediction == "" for prediction in predictions} == {True, False}
    for name in ("em", "token_f1"):
        assert QA_METRICS[name](predictions, told) == 100.0


def sentence(draw: random.Random) -> dict[str, Any]:
    words = draw.choices(WORDS, k=draw.randint(0, 30))
    tags: list[str] = []
    for _ in words:
        inside = [tags[-1].replace("B-", "I-")] if tags and tags[-1] != "O" else []
        tags.append(draw.choice(["O", "O", "B-person", "B-creative-work", *inside * 3]))
    return {"tokens": words, "tags": tags}


@pytest.mark.parametrize("length", [10, 30, 512])
def test_tags_of_sentences_whole_and_cut(tokenizer: Tokenizer, length: int) -> None:
    draw = random.Random(length)
    rows = [sentence(draw) for _ in range(ROWS)]
    encoded = prepare(TaggingColumns(names=TAGS), rows, tokenizer, length)
    told, predictions, kept = references(encoded), [], []
    for row, known in zip(encoded.table.to_pylist(), told, strict=True):
        marks = np.array([mark for mark in row["token_marks"] if mark != -100], dtype=int)
        predictions.append(decode("tagging", 8.0 * np.eye(len(TAGS))[marks], known, label_names=TAGS))
        count = len(known["words"])
        kept.append([*known["tags"][:count], *["O"] * (len(known["tags"]) - count)])
    assert predictions == kept
    assert encoded.truncated.any() == (length < 512)
    for metric in TAGGING_METRICS.values():
        assert (metric(predictions, told) == 100.0) == (length == 512)
        assert (
            metric(predictions, [{**known, "tags": tags} for known, tags in zip(told, kept, strict=True)])
            == 100.0
        )


def choice_outputs(encoded: EncodedRows, draw: random.Random) -> list[np.ndarray]:
    return [
        8.0 * np.eye(len(row["encoding_lengths"]))[int(row["label"])] + draw.uniform(-50, 50)
        for row in encoded.table.to_pylist()
    ]


def test_a_choice_of_two(tokenizer: Tokenizer) -> None:
    draw = random.Random(0)
    rows = [{"text": "why", "choices": ["the cat", "a dog"], "label": draw.randrange(2)} for _ in range(ROWS)]
    encoded = prepare(ChoiceColumns(text="text", choices=("choices",)), rows, tokenizer, 16)
    outputs = choice_outputs(encoded, draw)
    predictions = [
        decode("choice", scores, known) for scores, known in zip(outputs, references(encoded), strict=True)
    ]
    assert METRICS["accuracy"](np.array(predictions), np.array([row["label"] for row in rows])) == 100.0


def test_a_choice_of_entities(tokenizer: Tokenizer) -> None:
    draw = random.Random(0)
    rows = []
    for _ in range(ROWS):
        entities = draw.sample(WORDS[2:], draw.randint(1, 6))
        answers = ["elsewhere", *draw.sample(entities, min(len(entities), 2))]
        rows.append({"passage": "so", "query": "x @placeholder x", "entities": entities, "answers": answers})
    encoded = prepare(ClozeColumns(), rows, tokenizer, 16)
    told = references(encoded)
    outputs = choice_outputs(encoded, draw)
    predictions = [decode("choice", scores, known) for scores, known in zip(outputs, told, strict=True)]
    for name in ("em", "token_f1"):
        assert QA_METRICS[name](predictions, told) == 100.0


@pytest.mark.parametrize("kind", ["classification", "marked"])
def test_classes(kind: str) -> None:
    labels = np.array([0, 1, 1, 0, 1])
    predictions = [decode(kind, row) for row in 8.0 * np.eye(2)[labels]]
    for name in ("accuracy", "f1", "f1_macro", "mcc"):
        assert METRICS[name](np.array(predictions), labels) == pytest.approx(100.0)
    told = [{"question": [0, number // 2], "label": float(label)} for number, label in enumerate(labels)]
    for name in ("f1a", "question_em"):
        assert QA_METRICS[name](predictions, told) == 100.0


def test_values() -> None:
    labels = np.array([0.0, 2.5, 5.0, 1.0])
    predictions = np.array([decode("regression", label[None]) for label in labels])
    assert METRICS["pearson"](predictions, labels) == pytest.approx(100.0)
    assert METRICS["spearman"](predictions, labels) == pytest.approx(100.0)
