"""Whether every task's rows can be read: the first block of each split, and a few rows as the model has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from camtl import TokenRows
from camtl.backbones import resolve_backbone
from pipeline.data.columns import columns_of
from pipeline.data.formats import EncodedRows, Origin, encode_rows, texts_per_encoding
from pipeline.data.preparation.prepare import longest_encoding
from pipeline.data.preparation.prepared import describe
from pipeline.data.sources.base import Source, used_splits
from pipeline.data.tokenization import check_max_seq_length, load_tokenizer, tokenizer_json
from pipeline.doctor.finding import Finding
from pipeline.sampling.batches import to_token_rows
from pipeline.tasks.base import Task

ROWS = 64  # encoded of each split
TRAINED = 2  # of each task, for one batch


def tokenizer_of(backbone: str) -> Tokenizer:
    """The tokenizer that a run on this backbone has.

    Raises:
        ValueError: There is none.
    """
    return load_tokenizer(tokenizer_json(resolve_backbone(backbone)))


def first_rows(
    task: Task, source: Source, tokenizer: Tokenizer, max_seq_length: int
) -> tuple[dict[str, int], EncodedRows]:
    """Reads what `prepare` would read first of a task.

    Returns:
        {split: its rows}, and the first rows of the training split that can be trained on, encoded.

    Raises:
        ValueError: What is wrong with a split, its columns or a label; names the task and the file.
    """
    check_max_seq_length(tokenizer.to_str(), max_seq_length, texts_per_encoding(columns_of(task)))
    sizes, trained = {}, None
    for split in used_splits(task, source.splits(task)):
        blocks = [block for block in source.blocks(task, split) if block.rows]
        if not blocks:
            raise ValueError(
                f"task {task.name!r}: split {split!r} of {task.source} is empty: add rows or leave the task out"
            )
        sizes[split] = sum(block.rows for block in blocks)
        block = blocks[0]
        table = block.read().slice(0, ROWS)
        encoded = encode_rows(
            table,
            columns_of(task),
            tokenizer,
            longest_encoding(task, max_seq_length),
            for_training=split == task.train_split,
            origin=Origin(task.name, block.origin, range(block.first_row, block.first_row + table.num_rows)),
        )
        if split == task.train_split:
            if not encoded.trainable.any():
                raise ValueError(
                    f"task {task.name!r}: none of the first {len(encoded.status)} rows of {block.origin} can be "
                    f"trained on ({describe(encoded.report())}): correct the rows or the task's columns"
                )
            trained = encoded
    assert trained is not None  # used_splits names the training split, or raises
    return sizes, trained


def check_tasks(
    tasks: Sequence[Task], source: Source, tokenizer: Tokenizer, max_seq_length: int
) -> tuple[list[Finding], dict[str, EncodedRows]]:
    """A finding for each task that cannot be read and one for those that can; the rows of these."""
    findings, rows, splits, known = [], {}, 0, 0
    for task in tasks:
        try:
            sizes, rows[task.name] = first_rows(task, source, tokenizer, max_seq_length)
        except Exception as error:  # a reader's, of any kind
            findings.append(Finding.of_error(f"task {task.name}", error))
            continue
        splits, known = splits + len(sizes), known + sum(sizes.values())
    if rows:
        read = f"{len(rows)} task{'s' * (len(rows) != 1)} in {splits} splits can be read, {known:,} rows"
        findings.append(Finding("tasks", True, f"{read}: {', '.join(rows)}"))
    return findings, rows


def encodings_per_row(encoded: Mapping[str, EncodedRows]) -> float:
    """Mean over the tasks of the mean of their rows: choices and windows of a row are encodings of their own."""
    means = [
        float(pc.mean(pc.list_value_length(rows.table["encoding_lengths"])).as_py())
        for rows in encoded.values()
    ]
    return sum(means) / len(means) if means else 1.0


def few_of_each(tasks: Sequence[Task], encoded: Mapping[str, EncodedRows], each: int = TRAINED) -> TokenRows:
    """A small batch with trainable rows of every task that has some; task ids are places in `tasks`."""
    parts = []
    for number, task in enumerate(tasks):
        if task.name in encoded:
            chosen = np.flatnonzero(encoded[task.name].trainable)[:each]
            part = encoded[task.name].table.take(pa.array(chosen))
            parts.append(
                part.append_column("row_id", pa.array(chosen, pa.int64())).append_column(
                    "task", pa.array(np.full(len(chosen), number, np.int64))
                )
            )
    return to_token_rows(pa.concat_tables(parts))
