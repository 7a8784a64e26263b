"""A model that is always right gets 100: its outputs are made from the labels and marks that it is trained on.

The rows are cut into windows here as prepared rows are: marks say where an answer may start and end, and which
words have which tag. Only what the cut took away may cost anything.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tasks.decoding import decode
from pipeline.tasks.metrics import METRICS
from pipeline.tasks.qa_metrics import QA_METRICS
from pipeline.tasks.tagging_metrics import TAGGING_METRICS

LIMIT = 30
TAGS = ("O", "B-person", "I-person", "B-creative-work", "I-creative-work")
VOCABULARY = (
    "the",
    "a",
    "Rome",
    "U.S.",
    "half-time",
    "naïve",
    "1,000",
    "o'clock",
    "(so)",
    "Überlingen",
    "x",
    "東京",
)
SEEDS = st.integers(0, 2**32 - 1)
COUNTS = settings(max_examples=150, deadline=None)


@dataclass
class Row:
    """A prepared row: marks of each encoding, and the reference."""

    encodings: list[list[int]] = field(default_factory=list)
    reference: dict[str, Any] = field(default_factory=dict)


def pieces(word: str) -> list[tuple[int, int]]:
    """Sub-tokens of three letters."""
    return [(begin, min(begin + 3, len(word))) for begin in range(0, len(word), 3)]


def span_row(draw: random.Random, *, answered: bool) -> Row:
    """A question over a long context, in windows that overlap by the longest answer."""
    words = [draw.choice(VOCABULARY) for _ in range(draw.randint(1, 120))]
    first = draw.randrange(len(words))
    words[first] = draw.choice(VOCABULARY[2:])  # an answer of articles alone has no F1
    tokens: list[tuple[int, int]] = []
    word_tokens: list[tuple[int, int]] = []
    context = ""
    for word in words:
        context += " " if context else ""
        word_tokens.append((len(tokens), len(tokens) + len(pieces(word))))
        tokens += [(len(context) + begin, len(context) + end) for begin, end in pieces(word)]
        context += word
    last = first
    while (
        last + 1 < len(words)
        and draw.random() < 0.6
        and word_tokens[last + 1][1] - word_tokens[first][0] <= LIMIT
    ):
        last += 1
    begin, end = word_tokens[first][0], word_tokens[last][1] - 1
    row = Row(reference={"context": context, "spans": [], "answers": []})
    if answered:
        row.reference["answers"] = ["something else", context[tokens[begin][0] : tokens[end][1]]]
    width, question = draw.randint(LIMIT + 1, 90), draw.randint(1, 9)
    for at in range(0, max(1, len(tokens) - LIMIT), width - LIMIT):
        here = range(at, min(at + width, len(tokens)))
        whole = answered and begin in here and end in here
        marks = [(token == begin) + 2 * (token == end) if whole else 0 for token in here]
        row.encodings.append([0 if whole else 3, *[-100] * question, *marks, -100])
        row.reference["spans"] += [[-1, -1], *(list(tokens[token]) for token in here)]
    return row


def span_outputs(row: Row, draw: random.Random) -> list[np.ndarray]:
    """Right beyond doubt, each window on a level of its own."""
    outputs = []
    for encoding in row.encodings:
        marks = np.array([mark for mark in encoding if mark != -100])
        right = np.stack([marks & 1, marks >> 1], axis=1)
        outputs.append((8.0 * right + draw.uniform(-50, 50)).astype(np.float32))
    return outputs


@COUNTS
@given(SEEDS)
def test_answers_over_windows(seed: int) -> None:
    draw = random.Random(seed)
    rows = [span_row(draw, answered=True) for _ in range(4)]
    predictions = [decode("span", span_outputs(row, draw), row.reference) for row in rows]
    assert predictions == [row.reference["answers"][1] for row in rows]
    for name in ("em", "token_f1"):
        assert QA_METRICS[name](predictions, [row.reference for row in rows]) == 100.0


@COUNTS
@given(SEEDS)
def test_questions_without_an_answer(seed: int) -> None:
    draw = random.Random(seed)
    rows = [span_row(draw, answered=draw.random() < 0.5) for _ in range(4)]
    predictions = [decode("span", span_outputs(row, draw), row.reference, null_threshold=0.0) for row in rows]
    for name in ("em", "token_f1"):
        assert QA_METRICS[name](predictions, [row.reference for row in rows]) == 100.0
    for prediction, row in zip(predictions, rows, strict=True):
        assert (prediction == "") == (not row.reference["answers"])


def tagging_row(draw: random.Random, *, limit: int) -> Row:
    """A sentence of sub-tokens of which `limit` fit, with two special tokens."""
    words = [draw.choice(VOCABULARY) for _ in range(draw.randint(0, 40))]
    tags: list[str] = []
    for _ in words:
        inside = [tags[-1].replace("B-", "I-")] if tags and tags[-1] != "O" else []
        tags.append(draw.choice(["O", "O", "B-person", "B-creative-work", *inside * 3]))
    marks, numbers = [-100], []
    for number, (word, tag) in enumerate(zip(words, tags, strict=True)):
        labelled = [TAGS.index(tag), *[-100] * (len(pieces(word)) - 1)]
        if len(marks) + len(labelled) > limit - 1:
            break
        marks += labelled
        numbers.append(number)
    return Row([[*marks, -100]], {"tags": tags, "tokens": words, "words": numbers})


def tagging_outputs(row: Row) -> np.ndarray:
    marks = [mark for encoding in row.encodings for mark in encoding if mark != -100]
    return 8.0 * np.eye(len(TAGS), dtype=np.float32)[np.array(marks, dtype=int)]


@COUNTS
@given(SEEDS)
def test_tags_that_are_not_cut(seed: int) -> None:
    draw = random.Random(seed)
    rows = [tagging_row(draw, limit=1000) for _ in range(4)]
    predictions = [decode("tagging", tagging_outputs(row), row.reference, label_names=TAGS) for row in rows]
    assert predictions == [row.reference["tags"] for row in rows]
    if any(tag != "O" for row in rows for tag in row.reference["tags"]):
        for metric in TAGGING_METRICS.values():
            assert metric(predictions, [row.reference for row in rows]) == 100.0


@COUNTS
@given(SEEDS)
def test_what_is_cut_off_a_sentence_costs_its_entities_and_nothing_else(seed: int) -> None:
    draw = random.Random(seed)
    row = tagging_row(draw, limit=draw.randint(2, 40))
    kept = len(row.reference["words"])
    prediction = decode("tagging", tagging_outputs(row), row.reference, label_names=TAGS)
    tags = row.reference["tags"]
    assert prediction == [*tags[:kept], *["O"] * (len(tags) - kept)]
    row.reference["tags"] = prediction  # as if no entity had been cut
    if set(tags[:kept]) - {"O"}:
        for metric in TAGGING_METRICS.values():
            assert metric([prediction], [row.reference]) == 100.0


def test_an_entity_that_is_cut_counts_as_missed() -> None:
    reference = {"tokens": ["Rome", "saw", "Ada"], "tags": ["B-person", "O", "B-person"], "words": [0, 1]}
    prediction = decode("tagging", np.eye(len(TAGS))[[1, 0]], reference, label_names=TAGS)
    assert TAGGING_METRICS["entity_f1"]([prediction], [reference]) == pytest.approx(100 * 2 / 3)


@COUNTS
@given(SEEDS)
def test_choices(seed: int) -> None:
    draw = random.Random(seed)
    labels, predictions, entities, texts = [], [], [], []
    for _ in range(5):
        choices = draw.sample(VOCABULARY[2:], draw.randint(1, 6))
        label = draw.randrange(len(choices))
        scores = 8.0 * np.eye(len(choices))[label] + draw.uniform(-50, 50)
        labels.append(label)
        predictions.append(decode("choice", scores, {"label": label}))
        entities.append(
            {"answers": ["elsewhere", choices[label]], "choices": choices, "query": "@placeholder"}
        )
        texts.append(decode("choice", scores, entities[-1]))
    assert METRICS["accuracy"](np.array(predictions), np.array(labels)) == 100.0
    for name in ("em", "token_f1"):
        assert QA_METRICS[name](texts, entities) == 100.0


@pytest.mark.parametrize("kind", ["classification", "marked"])
def test_classes(kind: str) -> None:
    labels = np.array([0, 1, 1, 0, 1])
    predictions = [decode(kind, row) for row in 8.0 * np.eye(2)[labels]]
    for name in ("accuracy", "f1", "f1_macro", "mcc"):
        assert METRICS[name](np.array(predictions), labels) == pytest.approx(100.0)
    references = [{"question": [0, n // 2], "label": int(label)} for n, label in enumerate(labels)]
    for name in ("f1a", "question_em"):
        assert QA_METRICS[name](predictions, references) == 100.0


def test_values() -> None:
    labels = np.array([0.0, 2.5, 5.0, 1.0])
    predictions = np.array([decode("regression", label[None]) for label in labels])
    assert METRICS["pearson"](predictions, labels) == pytest.approx(100.0)
    assert METRICS["spearman"](predictions, labels) == pytest.approx(100.0)
