"""Converts source rows to tokenised, shuffled Parquet with a manifest; re-uses what is unchanged.

A task's folder is named after the task and a fingerprint of everything that shapes its rows. It is built under a
temporary name beside its path and renamed when complete. One execution builds all splits: blocks are read and
encoded in parallel, then written by part (`parts.py`, `execution.py`). On a cluster all nodes must reach the folder
of prepared data.
"""

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
from pipeline.data.preparation.parts import EncodeTask, SplitSpec
from pipeline.data.preparation.prepared import MANIFEST, PreparedTask, describe, load_prepared
from pipeline.data.preparation.schema import SCHEMA_VERSION
from pipeline.data.sources.base import Source, used_splits
from pipeline.data.tokenization import check_max_seq_length, tokenizer_fingerprint, tokenizer_json
from pipeline.tasks.base import Task

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
    """Prepares the tasks that are not prepared yet. Ray must be initialised, with one free CPU.

    Args:
        tokenizer: Hub id or folder of a fast tokenizer.
        max_seq_length: Longest encoding in tokens; longer ones are cut.
        max_train_rows: Training rows kept per task; None keeps all.
        max_eval_rows: Rows kept per evaluation split; None keeps all.
        prepared_dir: Parent folder of the tasks' folders.

    Returns:
        {task: prepared data}, in the order of `tasks`.

    Raises:
        ValueError: A setting or the data is wrong; one line that names the fault and the remedy.
    """
    for name, limit in (("max_train_rows", max_train_rows), ("max_eval_rows", max_eval_rows)):
        if limit is not None and limit < 1:
            raise ValueError(f"{name} is {limit}: give 1 or more, or null for all rows")
    text = tokenizer_json(tokenizer)
    root = Path(prepared_dir).expanduser().absolute()
    ready: dict[str, PreparedTask] = {}
    folders: list[_TaskFolder] = []
    for task in tasks:
        check_max_seq_length(text, max_seq_length, texts_per_encoding(columns_of(task)))
        shaped_by = {
            "schema_version": SCHEMA_VERSION,
            "max_seq_length": longest_encoding(task, max_seq_length),
            "max_train_rows": max_train_rows,
            "max_eval_rows": max_eval_rows,
            "source_fingerprint": source.fingerprint(task),
        }
        fingerprint = _fingerprint(task, {"tokenizer_fingerprint": tokenizer_fingerprint(text), **shaped_by})
        directory = root / f"{task.name}-{fingerprint[:12]}"
        if directory.exists():
            try:
                prepared = load_prepared(directory)
                if prepared.manifest.get("fingerprint") == fingerprint:
                    ready[task.name] = prepared
                    continue
            except ValueError as error:
                logger.warning("%s: it is prepared again", str(error).rpartition(": ")[0])
        made_with = {"name": tokenizer, "fingerprint": tokenizer_fingerprint(text)}
        manifest = {"task": task.name, "fingerprint": fingerprint, **shaped_by, "tokenizer": made_with}
        temporary = root / f".{directory.name}.{uuid.uuid4().hex[:8]}"
        folders.append(_TaskFolder(task, directory, temporary, manifest))
    try:
        if folders:
            _write_folders(folders, source, text)
        ready |= {folder.task.name: folder.publish() for folder in folders}
    except OSError as error:
        raise ValueError(
            f"prepared_dir {prepared_dir!r} cannot be written ({error.strerror}): "
            "choose another folder or make room"
        ) from error
    finally:
        for folder in folders:
            shutil.rmtree(folder.temporary, ignore_errors=True)
    return {task.name: ready[task.name] for task in tasks}


def longest_encoding(task: Task, max_seq_length: int) -> int:
    """Returns the task's limit of tokens per encoding, or the run's where that is less."""
    return min(max_seq_length, task.max_seq_length or max_seq_length)


@dataclass
class _TaskFolder:
    """A task's folder, built in `temporary`."""

    task: Task
    directory: Path
    temporary: Path
    manifest: dict[str, Any]
    splits: list[SplitSpec] = field(default_factory=list)

    def finish(self, results: Mapping[int, dict[str, Any]]) -> None:
        """Writes the manifest, the folder's last file, from the results of `write_part` by part number."""
        splits = {}
        for split in self.splits:
            report, files, parts = Counter[str](), {}, []
            for number, (file, rows) in enumerate(split.parts().items(), split.first_part):
                part, path = results[number], os.path.join(split.directory, file)
                if not os.path.isfile(path):
                    raise ValueError(
                        f"{path} was written by another node: "
                        "set data.prepared_dir to a folder that all nodes share"
                    )
                if part["source_rows"] != rows:
                    raise RuntimeError(f"Ray Data gave {part['source_rows']} of {rows} rows of {path}")
                report.update(part["report"])
                files[file] = {"rows": part["rows"], "sha256": part["sha256"]}
                parts.append(part)
            entry = {
                "rows": sum(part["rows"] for part in parts),
                "source_rows": split.kept_rows,
                "report": dict(+report),  # without zeros
                "files": files,
                "tokens": sum(part["tokens"] for part in parts),
                "truncated": sum(part["truncated"] for part in parts),
                "duplicate_ids": duplicate_ids([part["ids"] for part in parts]),
            }
            if not entry["rows"]:
                raise ValueError(
                    f"task {self.task.name!r}: none of the {split.kept_rows} rows of split {split.name!r} can "
                    f"be used ({describe(+report)}): correct the rows or the task's columns"
                )
            if split.num_labels is not None:
                entry["label_counts"] = np.sum([part["label_counts"] for part in parts], axis=0).tolist()
            splits[split.name] = entry
        self.manifest["splits"] = splits
        (self.temporary / MANIFEST).write_text(json.dumps(self.manifest, indent=2) + "\n", encoding="utf-8")

    def publish(self) -> PreparedTask:
        """Renames the folder to its path, unless another process has put a complete one there."""
        with contextlib.suppress(OSError):  # the path exists
            os.replace(self.temporary, self.directory)
        with contextlib.suppress(ValueError):
            return load_prepared(self.directory)
        broken = self.temporary.with_name(self.temporary.name + ".broken")
        os.replace(self.directory, broken)
        shutil.rmtree(broken)
        os.replace(self.temporary, self.directory)
        return load_prepared(self.directory)


def _fingerprint(task: Task, shaped_by: Mapping[str, object]) -> str:
    # The paths of files, the metrics and the description do not shape rows.
    columns = columns_of(task)
    shaped_by = {
        "kind": type(columns).__name__,
        "columns": dataclasses.asdict(columns),
        "task": task.name,
        "id_column": task.id_column,
        "splits": [task.train_split, *(split for split, _ in task.eval_splits)],
        **shaped_by,
    }
    return hashlib.sha256(json.dumps(shaped_by, sort_keys=True).encode()).hexdigest()


def _plan(folders: Sequence[_TaskFolder], source: Source) -> list[EncodeTask]:
    """Makes the folders and an `EncodeTask` for each block that has a row to keep."""
    encode_tasks: list[EncodeTask] = []
    first_part = 0
    for folder in folders:
        task, manifest = folder.task, folder.manifest
        for name in used_splits(task, source.splits(task)):
            blocks = source.blocks(task, name)
            rows = sum(block.rows for block in blocks)
            if not rows:
                raise ValueError(
                    f"task {task.name!r}: split {name!r} of {task.dataset}/{task.config} is empty: "
                    "add rows or leave the task out"
                )
            for_training = name == task.train_split
            directory = folder.temporary / name
            directory.mkdir(parents=True)
            split = SplitSpec(
                task=task.name,
                name=name,
                columns=columns_of(task),
                max_seq_length=manifest["max_seq_length"],
                id_column=task.id_column,
                num_labels=task.head.num_labels if task.head.has_classes else None,
                for_training=for_training,
                source_rows=rows,
                kept_rows=min(rows, manifest["max_train_rows" if for_training else "max_eval_rows"] or rows),
                first_part=first_part,
                directory=str(directory),
            )
            folder.splits.append(split)
            first_part += len(split.parts())
            for block in blocks:
                if (split.positions(block) < split.kept_rows).any():
                    encode_tasks.append(EncodeTask(len(encode_tasks), split, block))
    return encode_tasks


def _write_folders(folders: Sequence[_TaskFolder], source: Source, tokenizer: str) -> None:
    """Runs one execution for all folders and writes their manifests."""
    encode_tasks = _plan(folders, source)
    splits = [split for folder in folders for split in folder.splits]
    names = ", ".join(folder.task.name for folder in folders)
    logger.info("Preparing %s: %d rows", names, sum(split.kept_rows for split in splits))
    results = {
        row["part"]: {**json.loads(row["result"]), "ids": np.frombuffer(row["ids"], np.uint64)}
        for row in execute(encode_tasks, splits, tokenizer)
    }
    for part in sorted(results):  # faults in the data come first: they are part -1
        if "problem" in results[part]:
            raise ValueError(results[part]["problem"])
    for folder in folders:
        folder.finish(results)
