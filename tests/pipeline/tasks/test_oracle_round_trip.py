"""A model that is always right gets 100: its outputs are made from the labels and marks that it is trained on.

Only what was cut off may cost anything: an answer that no window contains completely, the words behind a cut.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
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
from pipeline.tasks.metrics.scores import METRICS
from pipeline.tasks.metrics.tagging import TAGGING_METRICS

ROWS = 200
TAGS = ("O", "B-person", "I-person", "B-creative-work", "I-creative-work")
# One to four tokens each. An answer of articles alone has no F1: they come first, and no answer consists of them.
WORDS = ("the", "a", "Rome", "U.S.", "half-time", "naïve", "1,000", "o'clock", "(so)", "cats", "x", "東京")
LONGEST_ANSWER = 6


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable[..., str]) -> Tokenizer:
    """Pieces of the words above."""
    folder = make_tokenizer(
        tmp_path_factory.mktemp("oracle"), "rome", "half", "time", "000", "so", *"us.-1,o'()x東"
    )
    return Tokenizer.from_file(f"{folder}/tokenizer.json")


def prepare(
    columns: Columns, rows: list[dict[str, Any]], tokenizer: Tokenizer, length: int
) -> tuple[EncodedRows, list[dict[str, Any]]]:
    """The encoded evaluation rows and their references."""
    table, origin = pa.Table.from_pylist(rows), Origin("oracle", "rows", range(len(rows)))
    encoded = encode_rows(table, columns, tokenizer, length, for_training=False, origin=origin)
    return encoded, [json.loads(reference or "{}") for reference in encoded.table["reference"].to_pylist()]


def assert_all_right(predictions: list[Any], references: list[dict[str, Any]], *metrics: str) -> None:
    assert [METRICS[name](predictions, references) for name in metrics] == [100.0] * len(metrics)


def make_question(draw: random.Random, *, answered: bool) -> dict[str, Any]:
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
    """Logits that leave no doubt, with another offset in each window."""
    rows = []
    for row in encoded.table.to_pylist():
        ends = np.cumsum(row["encoding_lengths"])[:-1]
        windows = [marks[marks != -100] for marks in np.split(np.array(row["token_marks"]), ends)]
        right = [np.stack([marks & 1, marks >> 1], axis=1) for marks in windows]
        rows.append([(8.0 * logits + draw.uniform(-50, 50)).astype(np.float32) for logits in right])
    return rows


@pytest.mark.parametrize(("length", "stride"), [(20, 6), (40, 18), (64, 24), (512, 128)])
def test_answers_over_windows(tokenizer: Tokenizer, length: int, stride: int) -> None:
    draw = random.Random(length)
    rows = [make_question(draw, answered=True) for _ in range(ROWS)]
    encoded, references = prepare(SpanColumns(stride=stride), rows, tokenizer, length)
    outputs = span_outputs(encoded, draw)
    assert (max(map(len, outputs)) > 1) == (length < 512)
    intact = [row for row in range(ROWS) if encoded.status[row] == Status.KEPT]
    cut = [row for row in range(ROWS) if encoded.status[row] == Status.ANSWER_CUT]
    assert len(intact) + len(cut) == ROWS
    assert len(intact) > len(cut)
    assert bool(cut) == (length < 64)

    predictions = [decode("span", outputs[row], references[row]) for row in intact]
    assert predictions == [rows[row]["answers"][1] for row in intact]
    assert_all_right(predictions, [references[row] for row in intact], "em", "token_f1")

    assert {decode("span", outputs[row], references[row], null_threshold=0.0) for row in cut} <= {""}


def test_questions_without_an_answer(tokenizer: Tokenizer) -> None:
    draw = random.Random(0)
    rows = [make_question(draw, answered=draw.random() < 0.5) for _ in range(ROWS)]
    encoded, references = prepare(SpanColumns(stride=24), rows, tokenizer, 64)
    pairs = zip(span_outputs(encoded, draw), references, strict=True)
    predictions = [decode("span", windows, reference, null_threshold=0.0) for windows, reference in pairs]
    assert {prediction == "" for prediction in predictions} == {True, False}
    assert_all_right(predictions, references, "em", "token_f1")


def make_sentence(draw: random.Random) -> dict[str, Any]:
    words = draw.choices(WORDS, k=draw.randint(0, 30))
    tags: list[str] = []
    for _ in words:
        inside = [tags[-1].replace("B-", "I-")] if tags and tags[-1] != "O" else []
        tags.append(draw.choice(["O", "O", "B-person", "B-creative-work", *inside * 3]))
    return {"tokens": words, "tags": tags}


@pytest.mark.parametrize("length", [10, 30, 512])
def test_tags_of_intact_and_cut_sentences(tokenizer: Tokenizer, length: int) -> None:
    draw = random.Random(length)
    rows = [make_sentence(draw) for _ in range(ROWS)]
    encoded, references = prepare(TaggingColumns(names=TAGS), rows, tokenizer, length)
    predictions, kept = [], []
    for row, reference in zip(encoded.table.to_pylist(), references, strict=True):
        marks = np.array([mark for mark in row["token_marks"] if mark != -100], dtype=int)
        predictions.append(decode("tagging", 8.0 * np.eye(len(TAGS))[marks], reference, label_names=TAGS))
        tags, count = reference["tags"], len(reference["words"])
        kept.append({**reference, "tags": [*tags[:count], *["O"] * (len(tags) - count)]})
    assert predictions == [reference["tags"] for reference in kept]
    assert encoded.truncated.any() == (length < 512)
    assert_all_right(predictions, kept, *TAGGING_METRICS)
    for metric in TAGGING_METRICS.values():
        assert (metric(predictions, references) == 100.0) == (length == 512)


def make_choice(draw: random.Random) -> dict[str, Any]:
    """A row of a choice by number, which is a row of a cloze too."""
    entities = draw.sample(WORDS[2:], draw.randint(1, 6))
    answers = ["elsewhere", *draw.sample(entities, min(len(entities), 2))]
    cloze = {"passage": "so", "query": "x @placeholder x", "entities": entities, "answers": answers}
    return {"text": "why", "choices": ["the cat", "a dog"], "label": draw.randrange(2), **cloze}


@pytest.mark.parametrize(
    ("columns", "metrics"),
    [
        (ChoiceColumns(text="text", choices=("choices",)), ["accuracy"]),
        (ClozeColumns(), ["em", "token_f1"]),
    ],
)
def test_choices(tokenizer: Tokenizer, columns: Columns, metrics: list[str]) -> None:
    draw = random.Random(0)
    rows = [make_choice(draw) for _ in range(ROWS)]
    encoded, references = prepare(columns, rows, tokenizer, 16)
    predictions = []
    for row, reference in zip(encoded.table.to_pylist(), references, strict=True):
        scores = 8.0 * np.eye(len(row["encoding_lengths"]))[int(row["label"])] + draw.uniform(-50, 50)
        predictions.append(decode("choice", scores, reference))
    labels = [{"label": row["label"], **reference} for row, reference in zip(rows, references, strict=True)]
    assert_all_right(predictions, labels, *metrics)
