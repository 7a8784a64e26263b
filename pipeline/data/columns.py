"""A task's columns by role, as the formats take them."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.data.formats import (
    CharacterMark,
    ChoiceColumns,
    ClozeColumns,
    Columns,
    Labels,
    MarkedColumns,
    SpanColumns,
    TaggingColumns,
    TextColumns,
    WordMark,
)
from pipeline.tasks.base import Task


def columns_of(task: Task) -> Columns:
    """Returns what a reading process needs of a task."""
    kind, columns, texts = task.head.kind, task.columns, task.text_columns
    if kind == "tagging":
        return TaggingColumns(names=task.head.label_names, words=columns["tokens"], tags=columns["tags"])
    if kind == "span":
        return SpanColumns(
            question=columns["question"],
            context=columns["context"],
            answers=columns["answers"],
            detected=columns.get("detected"),
            unanswerable=task.head.null_threshold is not None,
        )
    if kind == "choice" and "answers" in columns:
        return ClozeColumns(passage=texts[0], query=texts[1], **columns)
    if kind == "choice":
        return ChoiceColumns(text=texts[0], choices=split_names(columns["choices"]), label=task.label_column)
    labels = Labels(
        column=task.label_column,
        num_labels=None if kind == "regression" else task.head.num_labels,
        names=task.head.label_names,
        value_range=task.head.label_range,
    )
    if kind == "marked":
        return MarkedColumns(
            texts=texts, marks=(_mark(columns, 1, 0), _mark(columns, 2, len(texts) - 1)), labels=labels
        )
    return TextColumns(texts=texts, labels=labels, question=split_names(columns.get("question", "")))


def split_names(names: str) -> tuple[str, ...]:
    """The names in "a,b"."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _mark(columns: Mapping[str, str], number: int, text: int) -> CharacterMark | WordMark:
    if f"word{number}" in columns:
        return WordMark(text=text, index=columns[f"word{number}"], words=columns[f"word{number}_text"])
    return CharacterMark(text=text, start=columns[f"start{number}"], end=columns[f"end{number}"])
