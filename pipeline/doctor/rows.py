"""Whether every task's rows can be read: the first rows of each split, encoded as the model gets them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from camtl import TokenRows
from pipeline.data.columns import columns_of
from pipeline.data.formats import EncodedRows, Origin, encode_rows, texts_per_encoding
from pipeline.data.preparation.prepare import longest_encoding
from pipeline.data.preparation.prepared import describe
from pipeline.data.sources.base import Source, used_splits
from pipeline.data.tokenization import check_max_seq_length
from pipeline.doctor.finding import Finding
from pipeline.sampling.batches import to_token_rows
from pipeline.tasks.base import Task

ENCODED = 64  # rows of each split
TRAINED = 2  # rows of each task in the batch


def check_tasks(
    tasks: Sequence[Task], source: Source, tokenizer: Tokenizer, max_seq_length: int
) -> tuple[list[Finding], dict[str, EncodedRows]]:
    """Reads the first rows of all tasks.

    Returns:
        A finding for each task that cannot be read and one for all others, and {task: its first rows} of these.
    """
    findings: list[Finding] = []
    rows: dict[str, EncodedRows] = {}
    sizes: list[int] = []
    for task in tasks:
        try:
            of_splits, rows[task.name] = _first_rows(task, source, tokenizer, max_seq_length)
            sizes += of_splits
        except Exception as error:  # readers raise any type
            findings.append(Finding.of_error(f"task {task.name}", error))
    if rows:
        message = f"{len(rows)} task{'s' * (len(rows) != 1)} in {len(sizes)} splits can be read, {sum(sizes):,} rows"
        findings.append(Finding("tasks", True, f"{message}: {', '.join(rows)}"))
    return findings, rows


def _first_rows(
    task: Task, source: Source, tokenizer: Tokenizer, max_seq_length: int
) -> tuple[list[int], EncodedRows]:
    """Returns the rows of each split, and the first rows of the training split, encoded.

    Raises:
        ValueError: A split, a column or a label is wrong; the message names the task and the file.
    """
    columns, longest = columns_of(task), longest_encoding(task, max_seq_length)
    check_max_seq_length(tokenizer.to_str(), max_seq_length, texts_per_encoding(columns))
    sizes: list[int] = []
    trained = None
    for split in used_splits(task, source.splits(task)):
        blocks = [block for block in source.blocks(task, split) if block.rows]
        if not blocks:
            raise ValueError(
                f"task {task.name!r}: split {split!r} of {task.source} is empty: add rows or leave the task out"
            )
        sizes.append(sum(block.rows for block in blocks))
        first = blocks[0]
        table = first.read().slice(0, ENCODED)
        origin = Origin(task.name, first.origin, range(first.first_row, first.first_row + table.num_rows))
        training = split == task.train_split
        encoded = encode_rows(table, columns, tokenizer, longest, for_training=training, origin=origin)
        if training:
            trained = encoded
            if not trained.trainable.any():
                raise ValueError(
                    f"task {task.name!r}: none of the first {len(trained.status)} rows of {first.origin} can be "
                    f"trained on ({describe(trained.report())}): correct the rows or the task's columns"
                )
    assert trained is not None  # used_splits names the training split, or raises
    return sizes, trained


def encodings_per_row(rows: Mapping[str, EncodedRows]) -> float:
    """Returns the mean over the tasks of the encodings per row: choices and windows are encodings."""
    lengths = [encoded.table["encoding_lengths"] for encoded in rows.values()]
    return float(np.mean([pc.mean(pc.list_value_length(column)).as_py() for column in lengths] or [1.0]))


def first_batch(tasks: Sequence[Task], rows: Mapping[str, EncodedRows]) -> TokenRows:
    """Returns a small batch with trainable rows of every task in `rows`; task ids are positions in `tasks`."""
    parts = []
    for task_id, task in enumerate(tasks):
        if task.name in rows:
            chosen = np.flatnonzero(rows[task.name].trainable)[:TRAINED]
            part = rows[task.name].table.take(chosen).append_column("row_id", pa.array(chosen))
            parts.append(part.append_column("task", pa.array(np.full_like(chosen, task_id))))
    return to_token_rows(pa.concat_tables(parts))
