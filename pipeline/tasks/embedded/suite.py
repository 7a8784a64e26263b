"""The embedded suite: six small English tasks, generated from a seed, that run without any download.

Templates over small scenes (`text.py`) make the rows. Like real suites, the tasks differ in kind and size: the small
ones profit from what the larger ones teach. A share of the labels is wrong, so no model can reach 100.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import suggest
from pipeline.tasks.base import Task, make_task
from pipeline.tasks.embedded import pairs, single
from pipeline.tasks.embedded.text import Draw, TextRow

_task = functools.partial(make_task, dataset="embedded")

TASKS: tuple[Task, ...] = (
    _task(
        "sentiment",
        text_columns=("sentence",),
        label_names=("negative", "positive"),
        description="Sentiment of a sentence with negation, concession and the opinions of others",
    ),
    _task(
        "entailment",
        text_columns=("premise", "hypothesis"),
        label_names=("entailment", "neutral", "contradiction"),
        description="Does a statement about numbers, roles, locations or events follow from a scene?",
    ),
    _task(
        "similarity",
        kind="regression",
        text_columns=("sentence1", "sentence2"),
        label_range=(0.0, 5.0),
        uncertainty_from="entailment",
        description="Similarity of two described scenes, from 0 to 5",
    ),
    _task(
        "acceptability",
        text_columns=("sentence",),
        label_names=("unacceptable", "acceptable"),
        metrics=("mcc",),
        description="Is a sentence grammatical? Agreement, order, forms, missing words",
    ),
    _task(
        "topic",
        text_columns=("sentence",),
        label_names=("cooking", "sport", "music", "travel", "science"),
        description="Topic of the main event, among words of another topic",
    ),
    _task(
        "answering",
        text_columns=("question", "sentence"),
        label_names=("no answer", "answer"),
        description="Does a sentence answer a question about who, where, when or how many?",
    ),
)


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    make: Callable[[Draw], TextRow]
    train: int  # rows of the split
    validation: int
    wrong_labels: float = 0.04  # share of rows, in both splits, whose label is replaced by another one


_RECIPES = {
    "sentiment": _Recipe(make=single.sentiment, train=800, validation=300, wrong_labels=0.06),
    "entailment": _Recipe(make=pairs.entailment, train=4000, validation=400),
    "similarity": _Recipe(make=pairs.similarity, train=2000, validation=300),
    "acceptability": _Recipe(make=single.acceptability, train=3200, validation=400),
    "topic": _Recipe(make=single.topic, train=300, validation=250, wrong_labels=0.08),
    "answering": _Recipe(make=pairs.answering, train=1600, validation=300),
}
_SPLITS = ("train", "validation")


def generate(config: str, split: str, seed: int = 0) -> pa.Table:
    """Returns one split of one task, the same on every machine.

    Args:
        config: Name of a task.
        split: "train" or "validation"; the two share no text.
        seed: 0 or more; another seed gives other rows of the same kind.

    Returns:
        The task's text columns and `label`: int64 class numbers, or float64 from 0 to 5 for similarity.

    Raises:
        ValueError: The config or the split is unknown, or the seed is not an integer of at least 0.
    """
    for noun, name, known in (("task", config, _RECIPES), ("split", split, _SPLITS)):
        if name not in known:
            raise ValueError(f"unknown {noun} of the embedded suite: {name!r}{suggest(name, known)}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed of the embedded suite is {seed!r}: give an integer of 0 or more")
    task = next(task for task in TASKS if task.config == config)
    rows = _rows(config, len(task.label_names), seed)
    validation = _RECIPES[config].validation
    rows = rows[:validation] if split == "validation" else rows[validation:]
    texts = zip(*(texts for texts, _ in rows), strict=True)
    labels = pa.array([label for _, label in rows], pa.float64())
    columns = dict(zip(task.text_columns, map(pa.array, texts), strict=True))
    return pa.table(
        {**columns, task.label_column: labels.cast(pa.int64()) if task.head.has_classes else labels}
    )


# A source reads a split block by block, and both splits come from one sequence: make it once.
@functools.lru_cache(maxsize=len(_RECIPES))
def _rows(config: str, classes: int, seed: int) -> tuple[TextRow, ...]:
    """The validation rows, then the training rows. First texts are unique, so the splits are disjoint."""
    recipe = _RECIPES[config]
    draw = Draw("embedded", config, seed)
    rows: dict[str, TextRow] = {}
    while len(rows) < recipe.validation + recipe.train:
        texts, label = recipe.make(draw)
        if classes and draw.chance(recipe.wrong_labels):
            label = float(draw.other(range(classes), int(label)))
        rows.setdefault(texts[0], (texts, label))
    return tuple(rows.values())
