"""Checks of a run's data that need only its settings and file names, before Ray is connected."""

import os
from collections.abc import Sequence
from pathlib import Path

from camtl.backbones import resolve_backbone
from pipeline.config import Settings
from pipeline.data.columns import columns_of
from pipeline.data.formats import texts_per_encoding
from pipeline.data.sources.open import open_source
from pipeline.data.tokenization import check_max_seq_length, tokenizer_json
from pipeline.tasks.base import Task


def check_data(settings: Settings, tasks: Sequence[Task]) -> None:
    """Refuses settings that `prepare` would refuse; reads no rows, writes nothing, fetches at most a tokenizer.

    Raises:
        ValueError: The source is unknown or lacks a task, the backbone has no tokenizer, `max_seq_length` is too
            short for a task's texts, or the folder of prepared data cannot be written.
    """
    data = settings.data
    source = open_source(data.source)
    text = tokenizer_json(resolve_backbone(settings.model.backbone))
    for task in tasks:
        source.check(task)
        check_max_seq_length(text, data.max_seq_length, texts_per_encoding(columns_of(task)))
    check_writable("data.prepared_dir", data.prepared_dir)


def check_writable(setting: str, folder: str) -> None:
    """Raises ValueError if a folder cannot be created or written to; creates nothing."""
    path = Path(folder)
    try:
        while not path.exists() and path != path.parent:
            path = path.parent
        if not path.is_dir():
            raise NotADirectoryError(20, "Not a directory")
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise ValueError(
            f"{setting} {folder} cannot be written ({error.strerror}): choose another folder"
        ) from error
