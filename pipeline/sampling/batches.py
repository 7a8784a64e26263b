"""Candidates of each step: the rows of a rank's plan as the model's `TokenRows`."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from camtl.token_rows import UNMARKED, TokenRows
from pipeline.data.preparation.prepared import PreparedSplit
from pipeline.sampling.arrays import Ints
from pipeline.sampling.fetch import RowSet, fetch_rows, open_row_sets
from pipeline.sampling.plan import Plan

Fetch = Callable[[Plan], list[TokenRows]]  # one rank's plan -> its candidates of each step; picklable


def to_token_rows(table: pa.Table) -> TokenRows:
    """Converts a table of `fetch_rows`."""

    def column(name: str) -> pa.Array:
        return table[name].combine_chunks()

    input_ids, lengths, marks = column("input_ids"), column("encoding_lengths"), column("token_marks")
    token_marks = np.full(len(input_ids.flatten()), UNMARKED)
    is_marked = marks.value_lengths().to_numpy(zero_copy_only=False) > 0
    row_tokens = input_ids.value_lengths().to_numpy(zero_copy_only=False)
    token_marks[np.repeat(is_marked, row_tokens)] = marks.flatten().to_numpy()
    return TokenRows(
        input_ids=input_ids.flatten().to_numpy().astype(np.int64),
        token_type_ids=column("token_type_ids").flatten().to_numpy().astype(np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths.flatten().to_numpy())]).astype(np.int64),
        task_ids=column("task").to_numpy(),
        labels=column("label").to_numpy(zero_copy_only=False).astype(np.float32),
        row_ids=column("row_id").to_numpy(),
        encodings=lengths.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64),
        token_marks=token_marks,
    )


def split_by_step(rows: TokenRows, steps: Ints) -> list[TokenRows]:
    """Splits rows, which are ordered by step, into one set per step."""
    return [rows.take(part) for part in np.split(np.arange(len(steps)), np.flatnonzero(np.diff(steps)) + 1)]


def fetch_from_memory(row_sets: Sequence[RowSet], plan: Plan) -> list[TokenRows]:
    """Fetches a round in this process, without Ray: for a debugger, and as the reference for speed."""
    if not len(plan.row):
        return []
    return split_by_step(to_token_rows(fetch_rows(dict(enumerate(row_sets)), plan.task, plan.row)), plan.step)


def make_local_fetch(splits: Sequence[PreparedSplit], memory_bytes: int | None) -> Fetch:
    """Returns a fetch from this process's memory and disk; None keeps all rows in memory."""
    limit = sum(split.bytes for split in splits) if memory_bytes is None else memory_bytes
    return partial(fetch_from_memory, list(open_row_sets(splits, limit)))
