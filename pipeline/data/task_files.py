"""A user's own tasks, written in YAML: `data.task_files`.

A file maps names of tasks to their fields, which are those of `pipeline.tasks.base.Task` and the head's `kind` and
`label_range`:

    reviews:
      files: {train: reviews.csv, validation: reviews_dev.csv}   # beside this file; Parquet, JSONL, CSV, TSV, CoNLL
      text_columns: [body]
      label_column: verdict
      label_names: [bad, good]

Instead of `files`, `dataset` and `config` name a data set of the run's source by Hub id and configuration. Every value
in the file is text: `no` is a label like any other.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

from camtl.heads.spec import KINDS
from pipeline.data.columns import split_names
from pipeline.data.formats.reading import template_parts
from pipeline.data.sources.text_files import column_names
from pipeline.data.yaml_entries import Entry, read_entries
from pipeline.errors import suggest
from pipeline.tasks.base import TASK_KINDS, Task, make_task
from pipeline.tasks.metrics.scores import check_metrics
from pipeline.tasks.registry import GROUPS, KNOWN_TASKS

TASK_FIELDS = {"kind", "label_range"} | {field.name for field in dataclasses.fields(Task)}
TASK_FIELDS -= {"name", "head", "hub_subset"}


def load_task_files(paths: Iterable[str]) -> tuple[Task, ...]:
    """Returns the tasks of YAML files, in order; relative paths in a file start from its folder.

    Raises:
        ValueError: A file is wrong; the one-line message names the file, the line, the task, the field and the remedy.
    """
    entries = [entry for path in paths for entry in read_entries(path)]
    tasks: dict[str, Task] = {}
    for entry in entries:
        try:
            if entry.name in GROUPS:
                raise ValueError(f"{entry.name!r} is the name of a group of tasks: rename the task")
            if entry.name in KNOWN_TASKS or entry.name in tasks:
                raise ValueError(f"task {entry.name!r} already exists: rename this one")
            tasks[entry.name] = _task(entry)
            check_metrics(tasks[entry.name])
        except ValueError as error:
            raise ValueError(entry.located(str(error))) from None
    known = (*KNOWN_TASKS, *tasks)
    for entry in entries:
        source = entry.text("uncertainty_from")
        if source is not None and source not in known:
            entry.fail("uncertainty_from", f"unknown task {source!r}{suggest(source, known)}")
    return tuple(tasks.values())


def _task(entry: Entry) -> Task:
    for field in entry.fields:
        if field not in TASK_FIELDS:
            entry.fail(field, f"unknown field{suggest(field, TASK_FIELDS)}")
    kind = entry.text("kind", "classification")
    if kind not in TASK_KINDS:
        entry.fail("kind", f"unknown kind {kind!r}{suggest(kind, TASK_KINDS)}")
    label_names = entry.texts("label_names")
    if KINDS[kind] is None and len(set(label_names)) < max(2, len(label_names)):
        entry.fail(
            "label_names", f"a {kind} task needs the names of two or more classes, each once, in their order"
        )
    length = entry.numbers("max_seq_length", 1)
    threshold = entry.numbers("null_threshold", 1)
    label_range = entry.numbers("label_range", 2)
    train, evals = entry.text("train_split", "train"), entry.texts("eval_splits", ("validation",))
    files = _files(entry, (train, *evals))
    task = make_task(
        entry.name,
        "files" if files else entry.text("dataset"),
        kind,
        config=entry.name if files else entry.text("config", "default"),
        files=files,
        text_columns=entry.texts("text_columns"),
        columns=entry.mapping("columns", {role: role for role in TASK_KINDS[kind].roles[0]}),
        label_column=entry.text("label_column", "label"),
        id_column=entry.text("id_column"),
        label_names=label_names,
        label_range=None if label_range is None else (label_range[0], label_range[1]),
        max_seq_length=None if length is None else int(length[0]),
        null_threshold=None if threshold is None else threshold[0],
        metrics=entry.texts("metrics", TASK_KINDS[kind].metrics),
        train_split=train,
        eval_splits=tuple((split, f"{split}_" if len(evals) > 1 else "") for split in evals),
        uncertainty_from=entry.text("uncertainty_from"),
        description=entry.text("description", ""),
    )
    _check_columns(entry, task)
    return task


def _files(entry: Entry, splits: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """(split, absolute path) of each file; empty for a data set of the source."""
    if ("files" in entry.fields) == ("dataset" in entry.fields):
        entry.fail("files", "give either files, as {train: a.csv, validation: b.csv}, or dataset, a Hub id")
    files = entry.mapping("files", {})
    for split in splits if files else ():
        if split not in files:
            entry.fail("files", f"the split {split!r} has no file: add it or change train_split, eval_splits")
    folder = os.path.dirname(os.path.abspath(entry.path))
    return tuple((split, os.path.join(folder, os.path.expanduser(path))) for split, path in files.items())


def _check_columns(entry: Entry, task: Task) -> None:
    """Raises ValueError if a file of the used splits lacks a column that the task names."""
    named = []
    for text in task.text_columns:
        names = [name for _, name in template_parts(text) if name] if "{" in text or "}" in text else [text]
        named += [("text_columns", name) for name in names]
    named += [("columns", name) for names in task.columns.values() for name in split_names(names)]
    if TASK_KINDS[task.head.kind].texts != (0,) and "answers" not in task.columns:
        named.append(("label_column", task.label_column))
    if task.id_column is not None:
        named.append(("id_column", task.id_column))
    used = (task.train_split, *(name for name, _ in task.eval_splits))
    for path in (path for name, path in task.files if name in used):
        try:
            present = column_names(path)
        except ValueError as error:
            entry.fail("files", str(error))
        for field, name in named:
            if name not in present and name.partition(".")[0] not in present:
                entry.fail(field, f"{path} has no column {name!r}{suggest(name, present)}")
