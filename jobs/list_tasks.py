"""Lists all known tasks: `python jobs/list_tasks.py [--data.source folder] [--data.task_files my_tasks.yaml ...]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from jobs.cli.errors import fail
from pipeline.data.sources.base import Source, used_splits
from pipeline.data.sources.open import open_source
from pipeline.data.task_files import load_task_files
from pipeline.tasks.base import Task
from pipeline.tasks.registry import GROUPS, KNOWN_TASKS


def row_counts(task: Task, source: Source) -> str:
    """Rows of the training and of all evaluation splits, as "2,490 / 277"; "" if the source lacks the task.

    Raises:
        ValueError: A file of the task cannot be read.
    """
    try:
        splits = used_splits(task, source.splits(task))
    except ValueError:
        return ""
    train, *evals = (sum(block.rows for block in source.blocks(task, split)) for split in splits)
    return f"{train:,} / {sum(evals):,}"


def make_table(tasks: Sequence[Task], source: Source | None) -> Table:
    """A row per task: name, kind, longest encoding, rows in the source if one is given, metrics and origin."""
    table = Table("task", "kind", title=f"{len(tasks)} tasks")
    table.add_column("tokens", justify="right")
    if source is not None:
        table.add_column("train / eval rows", justify="right")
    for name in ("metrics", "source"):
        table.add_column(name)
    for task in tasks:
        rows = [] if source is None else [row_counts(task, source)]
        limit = str(task.max_seq_length or "the run's")
        table.add_row(task.name, task.head.kind, limit, *rows, ", ".join(task.metrics), task.source)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table and the groups."""
    parser = argparse.ArgumentParser(prog="python jobs/list_tasks.py", description=__doc__)
    parser.add_argument("--data.source", dest="source", help="count the rows of: embedded, hub or a folder")
    parser.add_argument("--data.task_files", dest="task_files", nargs="+", default=[], help="YAML files")
    options = parser.parse_args(arguments)
    try:
        words = " ".join(options.task_files).strip("[]").replace(",", " ")  # as other jobs write lists, too
        own_tasks = load_task_files(words.split())
        source = open_source(options.source or "embedded") if options.source or own_tasks else None
        table = make_table([*own_tasks, *KNOWN_TASKS.values()], source)
    except ValueError as error:
        fail(str(error))
    console = Console(width=120)
    console.print(table)
    for name, members in GROUPS.items():
        console.print(f"{name}: {', '.join(members)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
