"""Source rows to tokenised, shuffled Parquet with a manifest, re-used while nothing changed.

A task's folder is named after the task and a fingerprint of everything that shapes its rows. It is built
beside its place and renamed when whole, so what has the name is complete. All splits that are to be built
go through one execution: blocks are read and encoded in parallel, then brought together by part
(`parts.py`, `execution.py`). On a cluster the folder of prepared data has to be one that all nodes reach.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.columns import columns_of
from pipeline.data.formats import duplicate_ids, texts_per_encoding
from pipeline.data.preparation.execution import execute
from pipeline.data.preparation.parts import Job, SplitPlan
from pipeline.data.preparation.prepared import (
    MANIFEST,
    PreparedSplit,
    PreparedTask,
    check_tokenizer,
    load_prepared,
    read_table,
)
from pipeline.data.preparation.report import describe
from pipeline.data.preparation.schema import SCHEMA_VERSION
from pipeline.data.sources.base import Source, used_splits
from pipeline.data.tokenization import check_max_seq_length, tokenizer_fingerprint, tokenizer_json
from pipeline.tasks.base import Task

__all__ = ["PreparedSplit", "PreparedTask", "check_tokenizer", "load_prepared", "prepare", "read_table"]

logger = logging.getLogger(__name__)


def prepare(
    tasks: Sequence[Task],
    source: Source,
    *,
    tokenizer: str,
    max_seq_length: int,
    max_train_rows: int | None,
    max_eval_rows: int | None,
    prepared_dir: str,
) -> dict[str, PreparedTask]:
    """Prepares what is not prepared yet. Ray has to be initialised, and one CPU of it free.

    Args:
        tasks: Tasks of the run.
        source: Where their rows come from.
        tokenizer: Hub id or folder of a fast tokenizer.
        max_seq_length: Longest row in tokens; longer ones are cut.
        max_train_rows: Training rows kept per task; None keeps all.
        max_eval_rows: Rows kept per evaluation split; None keeps all.
        prepared_dir: Folder for the tasks' folders.

    Returns:
        {task: prepared data}, in the order of `tasks`.

    Raises:
        ValueError: A wrong setting, or a fault in the data; one line that names it and the mend.
    """
    for name, limit in (("max_train_rows", max_train_rows), ("max_eval_rows", max_eval_rows)):
        if limit is not None and limit < 1:
            raise ValueError(f"{name} is {limit}: give 1 or more, or null for all rows")
    text = tokenizer_json(tokenizer)
    root = Path(prepared_dir).expanduser().absolute()
    ready: dict[str, PreparedTask] = {}
    builds: list[_Build] = []
    for task in tasks:
        check_max_seq_length(text, max_seq_length, texts_per_encoding(columns_of(task)))
        shaped_by = {
            "schema_version": SCHEMA_VERSION,
            "tokenizer_fingerprint": tokenizer_fingerprint(text),
            "max_seq_length": longest_encoding(task, max_seq_length),
            "max_train_rows": max_train_rows,
            "max_eval_rows": max_eval_rows,
            "source_fingerprint": source.fingerprint(task),
        }
        fingerprint = _fingerprint(task, shaped_by)
        directory = root / f"{task.name}-{fingerprint[:12]}"
        if directory.exists():
            try:
                found = load_prepared(directory)
                if found.manifest.get("fingerprint") == fingerprint:
                    ready[task.name] = found
                    continue
            except ValueError as error:
                logger.warning("%s: it is prepared again", str(error).rpartition(": ")[0])
        shaped_by["tokenizer"] = {"name": tokenizer, "fingerprint": shaped_by.pop("tokenizer_fingerprint")}
        manifest = {"task": task.name, "fingerprint": fingerprint, **shaped_by}
        builds.append(_Build(task, directory, root / f".{directory.name}.{uuid.uuid4().hex[:8]}", manifest))
    try:
        jobs = _plan(builds, source, max_seq_length, max_train_rows, max_eval_rows)
        _build(builds, jobs, text)
        ready |= {build.task.name: build.publish() for build in builds}
    except OSError as error:
        raise ValueError(
            f"prepared_dir {prepared_dir!r} cannot be written ({error.strerror}): "
            "choose another folder or make room"
        ) from error
    finally:
        for build in builds:
            shutil.rmtree(build.temporary, ignore_errors=True)
    return {task.name: ready[task.name] for task in tasks}


def longest_encoding(task: Task, max_seq_length: int) -> int:
    """Longest encoding of a task in tokens: its own limit, where that is less than the run's."""
    return min(max_seq_length, task.max_seq_length or max_seq_length)


@dataclass
class _Build:
    """A task's folder on its way."""

    task: Task
    directory: Path
    temporary: Path
    manifest: dict[str, Any]
    plans: list[SplitPlan] = field(default_factory=list)

    def finish(self, results: Mapping[int, dict[str, Any]]) -> None:
        """Writes the manifest from what the parts' writers told. It is the last file of the folder."""
        splits = {}
        for plan in self.plans:
            files = {file: results[plan.first_part + index] for index, file in enumerate(plan.parts())}
            for file, rows in plan.parts().items():
                if files[file]["source_rows"] != rows:
                    raise RuntimeError(
                        f"Ray Data gave {files[file]['source_rows']} of {rows} rows of {plan.name}/{file}"
                    )
            report = Counter[str]()
            for part in files.values():
                report.update(part["report"])
            told = {reason: count for reason, count in report.items() if count}
            splits[plan.name] = {
                "rows": sum(part["rows"] for part in files.values()),
                "source_rows": plan.kept_rows,
                "report": told,
                "files": {
                    file: {key: part[key] for key in ("rows", "sha256")} for file, part in files.items()
                },
                "tokens": sum(part["tokens"] for part in files.values()),
                "truncated": sum(part["truncated"] for part in files.values()),
                "duplicate_ids": duplicate_ids([part["ids"] for part in files.values()]),
            }
            if not splits[plan.name]["rows"]:
                raise ValueError(
                    f"task {self.task.name!r}: none of the {plan.kept_rows} rows of split {plan.name!r} can be "
                    f"used ({describe(told)}): correct the rows or the task's columns"
                )
            if plan.num_labels is not None:
                counts = zip(*(part["label_counts"] for part in files.values()), strict=True)
                splits[plan.name]["label_counts"] = [sum(count) for count in counts]
        self.manifest["splits"] = splits
        (self.temporary / MANIFEST).write_text(json.dumps(self.manifest, indent=2) + "\n", encoding="utf-8")

    def publish(self) -> PreparedTask:
        """Renames the folder into its place, unless another process has put a whole one there."""
        with contextlib.suppress(OSError):  # there is something in the place
            os.replace(self.temporary, self.directory)
        with contextlib.suppress(ValueError):
            return load_prepared(self.directory)
        broken = self.temporary.with_name(self.temporary.name + ".broken")
        os.replace(self.directory, broken)
        shutil.rmtree(broken)
        os.replace(self.temporary, self.directory)
        return load_prepared(self.directory)


def _fingerprint(task: Task, shaped_by: Mapping[str, object]) -> str:
    # What is read of a task shapes its rows; where its files lie, what is measured and what is told does not.
    columns = columns_of(task)
    read = {
        "kind": type(columns).__name__,
        "columns": dataclasses.asdict(columns),
        "task": task.name,
        "id_column": task.id_column,
        "splits": [task.train_split, *(split for split, _ in task.eval_splits)],
    }
    return hashlib.sha256(json.dumps({**read, **shaped_by}, sort_keys=True).encode()).hexdigest()


def _plan(
    builds: Sequence[_Build],
    source: Source,
    max_seq_length: int,
    max_train_rows: int | None,
    max_eval_rows: int | None,
) -> list[Job]:
    """Makes the folders and the jobs: one for each block that has a row to keep."""
    jobs: list[Job] = []
    first_part = 0
    for build in builds:
        task = build.task
        for name in used_splits(task, source.splits(task)):
            blocks = source.blocks(task, name)
            rows = sum(block.rows for block in blocks)
            if not rows:
                raise ValueError(
                    f"task {task.name!r}: split {name!r} of {task.dataset}/{task.config} is empty: "
                    "add rows or leave the task out"
                )
            limit = max_train_rows if name == task.train_split else max_eval_rows
            directory = build.temporary / name
            directory.mkdir(parents=True)
            plan = SplitPlan(
                task=task.name,
                name=name,
                columns=columns_of(task),
                max_seq_length=longest_encoding(task, max_seq_length),
                id_column=task.id_column,
                num_labels=task.head.num_labels if task.head.has_classes else None,
                for_training=name == task.train_split,
                source_rows=rows,
                kept_rows=min(rows, limit or rows),
                first_part=first_part,
                directory=str(directory),
            )
            build.plans.append(plan)
            first_part += len(plan.parts())
            for block in blocks:
                if (plan.positions(block) < plan.kept_rows).any():
                    jobs.append(Job(len(jobs), plan, block))
    return jobs


def _build(builds: Sequence[_Build], jobs: Sequence[Job], text: str) -> None:
    """Runs the jobs as one execution, and completes the folders."""
    if not builds:
        return
    plans = [plan for build in builds for plan in build.plans]
    paths = [os.path.join(plan.directory, file) for plan in plans for file in plan.parts()]
    names = ", ".join(build.task.name for build in builds)
    logger.info("Preparing %s: %d rows", names, sum(plan.kept_rows for plan in plans))
    results = execute(jobs, plans, text)
    parts = {
        result["part"]: {**json.loads(result["result"]), "ids": np.frombuffer(result["ids"], np.uint64)}
        for result in results
    }
    for number in sorted(parts):  # faults in the data are of part -1, so the first
        if "problem" in parts[number]:
            raise ValueError(parts[number]["problem"])
    missing = next((path for path in paths if not os.path.isfile(path)), None)
    if missing:
        raise ValueError(
            f"{missing} was written by another node: set data.prepared_dir to a folder that all nodes share"
        )
    for build in builds:
        build.finish(parts)
