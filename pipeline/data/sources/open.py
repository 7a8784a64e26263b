"""Opens the source that `data.source` names; tasks with `files` are read from those."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources.base import Block, Source, content_hash, json_hash, used_splits
from pipeline.data.sources.embedded import EmbeddedSource
from pipeline.data.sources.hub import HubSource
from pipeline.data.sources.parquet_files import FolderSource
from pipeline.data.sources.text_files import file_blocks, suffix_of

if TYPE_CHECKING:
    from pipeline.tasks.base import Task


def open_source(spec: str) -> Source:
    """Returns the source that a setting names: `hub`, `embedded` or a folder.

    Raises:
        ValueError: The setting is neither of these.
    """
    named: dict[str, Source] = {"hub": HubSource(), "embedded": EmbeddedSource()}
    folder = Path(spec).expanduser().absolute()
    if spec not in named and not folder.is_dir():
        raise ValueError(
            f"data source {spec!r} is not a folder: give 'hub', 'embedded' or a folder laid out as "
            "<hub id>/<config>/<split>.parquet"
        )
    return TaskFileSource(named.get(spec, FolderSource(folder)))


class TaskFileSource:
    """Reads tasks with `files` from those files, all other tasks from `others`."""

    def __init__(self, others: Source) -> None:
        self.others = others

    def check(self, task: Task) -> None:
        if task.files:
            used_splits(task, self.splits(task))
        else:
            self.others.check(task)

    def splits(self, task: Task) -> tuple[str, ...]:
        return tuple(split for split, _ in task.files) if task.files else self.others.splits(task)

    def blocks(self, task: Task, split: str) -> list[Block]:
        return file_blocks(dict(task.files)[split]) if task.files else self.others.blocks(task, split)

    def fingerprint(self, task: Task) -> str:
        if not task.files:
            return self.others.fingerprint(task)
        files = dict(task.files)
        used = [files[split] for split in used_splits(task, tuple(files))]
        return json_hash([(suffix_of(path), content_hash(path)) for path in used])
