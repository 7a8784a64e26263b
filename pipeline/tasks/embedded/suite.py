"""The embedded suite: six small English tasks that the project writes itself, to run without any download.

The rows are made from a seed by templates over small scenes (`embedded_suite`). The tasks differ in kind and
in size, as real suites do: the small ones live from what the larger ones teach. Some labels are wrong on
purpose, as annotators' are, so that nothing can reach 100.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from camtl.heads import HeadSpec
from pipeline.tasks.base import Task
from pipeline.tasks.embedded import pairs, single
from pipeline.tasks.embedded.text import Draw, Row


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """How one task's rows come about.

    Attributes:
        make: Writes one row.
        train: Rows of the training split.
        validation: Rows of the validation split.
        wrong_labels: Share of rows, in both splits, whose label is replaced by another one.
    """

    make: Callable[[Draw], Row]
    train: int
    validation: int
    wrong_labels: float = 0.04


_RECIPES = {
    "sentiment": _Recipe(make=single.sentiment, train=800, validation=300, wrong_labels=0.06),
    "entailment": _Recipe(make=pairs.entailment, train=4000, validation=400),
    "similarity": _Recipe(make=pairs.similarity, train=2000, validation=300),
    "acceptability": _Recipe(make=single.acceptability, train=3200, validation=400),
    "topic": _Recipe(make=single.topic, train=300, validation=250, wrong_labels=0.08),
    "answering": _Recipe(make=pairs.answering, train=1600, validation=300),
}


def _task(
    name: str, columns: tuple[str, ...], labels: tuple[str, ...], metrics: tuple[str, ...], description: str
) -> Task:
    if labels:
        head = HeadSpec(kind="classification", num_labels=len(labels))
    else:
        head = HeadSpec(kind="regression", num_labels=1, label_range=(0.0, 5.0))
    return Task(
        name=name,
        dataset="embedded",
        config=name,
        text_columns=columns,
        head=head,
        label_names=labels,
        metrics=metrics,
        uncertainty_from=None if labels else "entailment",
        description=description,
    )


TASKS: tuple[Task, ...] = (
    _task(
        "sentiment",
        ("sentence",),
        ("negative", "positive"),
        ("accuracy",),
        "Verdict of a sentence with negation, concession and the opinions of others",
    ),
    _task(
        "entailment",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        ("accuracy",),
        "Whether a statement about numbers, roles, places or deeds follows from a scene",
    ),
    _task(
        "similarity",
        ("sentence1", "sentence2"),
        (),
        ("pearson", "spearman"),
        "How alike two described scenes are, from 0 to 5",
    ),
    _task(
        "acceptability",
        ("sentence",),
        ("unacceptable", "acceptable"),
        ("mcc",),
        "Whether a sentence is grammatical: agreement, order, forms, missing words",
    ),
    _task(
        "topic",
        ("sentence",),
        ("cooking", "sport", "music", "travel", "science"),
        ("accuracy",),
        "Field of what is mainly done, among words of another field",
    ),
    _task(
        "answering",
        ("question", "sentence"),
        ("no answer", "answer"),
        ("accuracy",),
        "Whether a sentence answers a question about who, where, when or how many",
    ),
)


def generate(config: str, split: str, seed: int = 0) -> pa.Table:
    """One split of one task, the same on every machine.

    Args:
        config: A task's name.
        split: "train" or "validation"; the two share no text.
        seed: 0 or more; another seed writes another suite of the same kind.

    Returns:
        The task's text columns and `label`: int64 class indices, or float64 from 0 to 5 for similarity.

    Raises:
        ValueError: Unknown config or split, or a seed that is not an integer of at least 0.
    """
    _check_known("task of the embedded suite", config, tuple(_RECIPES))
    _check_known("split of the embedded suite", split, ("train", "validation"))
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed of the embedded suite must be an integer of 0 or more, not {seed!r}")
    rows = _rows(config, seed)
    validation = _RECIPES[config].validation
    rows = rows[:validation] if split == "validation" else rows[validation:]
    task = next(task for task in TASKS if task.config == config)
    columns = {
        name: pa.array([texts[index] for texts, _ in rows], pa.string())
        for index, name in enumerate(task.text_columns)
    }
    labels = [label for _, label in rows]
    if task.head.kind == "classification":
        return pa.table(
            {**columns, task.label_column: pa.array([int(label) for label in labels], pa.int64())}
        )
    return pa.table({**columns, task.label_column: pa.array(labels, pa.float64())})


# A source reads a split block by block, and the two splits come from one sequence: write it once.
@functools.lru_cache(maxsize=len(_RECIPES))
def _rows(config: str, seed: int) -> tuple[Row, ...]:
    """Validation rows, then training rows. No first text appears twice, so the splits are disjoint."""
    recipe = _RECIPES[config]
    classes = next(len(task.label_names) for task in TASKS if task.config == config)
    draw = Draw("embedded", config, seed)
    rows: dict[str, Row] = {}
    while len(rows) < recipe.validation + recipe.train:
        texts, label = recipe.make(draw)
        if classes and draw.chance(recipe.wrong_labels):
            label = float(draw.other(range(classes), int(label)))
        rows.setdefault(texts[0], (texts, label))
    return tuple(rows.values())


def _check_known(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ValueError(f"unknown {what}: {name!r}; {hint}")
