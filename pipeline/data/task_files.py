"""A user's own tasks, written in YAML: `data.task_files`.

A file maps the names of tasks to their fields, which are those of `pipeline.tasks.base.Task`; the head's `kind` and
`label_range` stand among them:

    reviews:
      files: {train: reviews.csv, validation: reviews_dev.csv}   # beside this file; Parquet, JSONL, CSV, TSV, CoNLL
      text_columns: [body]
      label_column: verdict
      label_names: [bad, good]

In the place of `files` there may be `dataset` and `config`: a Hub id and its configuration, which the run's source
has. Every word in the file is text: `no` is a label like others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from camtl.heads import HeadSpec
from camtl.heads.spec import KINDS
from pipeline.data.columns import listed
from pipeline.data.formats.source import template_parts
from pipeline.data.sources.text_files import column_names
from pipeline.data.yaml_entries import Entry, read_entries
from pipeline.tasks.base import FILES, ROLES, TEXTS, Task
from pipeline.tasks.registry import all_tasks, check_metrics, check_name, nearest

METRICS = {  # of a task that names none
    "classification": ("accuracy",),
    "regression": ("pearson", "spearman"),
    "marked": ("accuracy",),
    "choice": ("accuracy",),
    "tagging": ("entity_f1",),
    "span": ("em", "token_f1"),
}
WITH_CLASSES = tuple(kind for kind, outputs in KINDS.items() if outputs is None)
FIELDS = (
    *("kind", "files", "dataset", "config", "text_columns", "columns", "label_column", "id_column"),
    *(
        "label_names",
        "label_range",
        "max_seq_length",
        "null_threshold",
        "metrics",
        "train_split",
        "eval_splits",
    ),
    *("uncertainty_from", "description"),
)


def load_task_files(paths: Iterable[str]) -> tuple[Task, ...]:
    """The tasks of YAML files, in order; a relative path in a file starts from its folder.

    Raises:
        ValueError: A mistake in one of them: one line that names the file, the field and the mend.
    """
    entries = [entry for path in paths for entry in read_entries(path)]
    tasks: dict[str, Task] = {}
    for entry in entries:
        known = [*(task.name for task in all_tasks()), *tasks]
        try:
            check_name(entry.name, known)
            task = _task(entry)
            check_metrics(task)
        except ValueError as error:
            raise ValueError(entry.located(str(error))) from None
        tasks[task.name] = task
    known = [*(task.name for task in all_tasks()), *tasks]
    for entry in entries:
        source = entry.text("uncertainty_from", None)
        if source is not None and source not in known:
            entry.fail("uncertainty_from", f"unknown task {source!r}{nearest(source, known)}")
    return tuple(tasks.values())


def _task(entry: Entry) -> Task:
    for field in entry.fields:
        if field not in FIELDS:
            entry.fail(field, f"unknown field{nearest(field, FIELDS)}")
    kind = entry.text("kind", "classification")
    if kind not in KINDS:
        entry.fail("kind", f"unknown kind {kind!r}{nearest(kind, KINDS)}")
    label_names = entry.texts("label_names")
    if kind in WITH_CLASSES and len(set(label_names)) < max(2, len(label_names)):
        entry.fail(
            "label_names", f"a {kind} needs the names of two or more classes, each once, in their order"
        )
    length = entry.numbers("max_seq_length", 1)
    threshold = entry.numbers("null_threshold", 1)
    label_range = entry.numbers("label_range", 2)
    train, evals = entry.text("train_split", "train"), entry.texts("eval_splits", ("validation",))
    files = _files(entry, (train, *evals))
    task = Task(
        name=entry.name,
        dataset=FILES if files else entry.text("dataset", None),
        config=entry.name if files else entry.text("config", "default"),
        files=files,
        head=HeadSpec(
            kind=kind,
            num_labels=KINDS[kind] or len(label_names),
            label_range=None if label_range is None else (label_range[0], label_range[1]),
        ),
        text_columns=entry.texts("text_columns"),
        columns=entry.mapping("columns", {role: role for role in ROLES[kind][0]}),
        label_column=entry.text("label_column", "label"),
        id_column=entry.text("id_column", None),
        label_names=label_names,
        max_seq_length=None if length is None else int(length[0]),
        null_threshold=None if threshold is None else threshold[0],
        metrics=entry.texts("metrics", METRICS[kind]),
        train_split=train,
        eval_splits=tuple((split, f"{split}_" if len(evals) > 1 else "") for split in evals),
        uncertainty_from=entry.text("uncertainty_from", None),
        description=entry.text("description", ""),
    )
    _check_columns(entry, task)
    return task


def _files(entry: Entry, splits: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """(split, absolute path) of each file; none for a data set of the Hub."""
    if ("files" in entry.fields) == ("dataset" in entry.fields):
        entry.fail("files", "give either files, as {train: a.csv, validation: b.csv}, or dataset, a Hub id")
    files = entry.mapping("files", {})
    for split in splits if files else ():
        if split not in files:
            entry.fail(
                "files", f"there is none for the split {split!r}: add it or change train_split, eval_splits"
            )
    folder = os.path.dirname(os.path.abspath(entry.path))
    return tuple((split, os.path.join(folder, os.path.expanduser(path))) for split, path in files.items())


def _check_columns(entry: Entry, task: Task) -> None:
    """Holds the columns that a task names against those that its files have."""
    named = [("text_columns", name) for text in task.text_columns for name in _columns_of_text(text)]
    named += [("columns", name) for names in task.columns.values() for name in listed(names)]
    if TEXTS[task.head.kind] != (0,) and "answers" not in task.columns:
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
                entry.fail(field, f"{path} has no column {name!r}{nearest(name, present)}")


def _columns_of_text(text: str) -> list[str]:
    return [name for _, name in template_parts(text) if name] if "{" in text or "}" in text else [text]
