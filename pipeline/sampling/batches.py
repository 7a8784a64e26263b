"""Fetched rows as batches: Arrow tables of prepared rows become the model's `TokenRows`, one set per step."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from camtl.token_rows import UNMARKED, TokenRows
from pipeline.sampling.fetch import Rows, fetch_rows
from pipeline.sampling.plan import Plan

Fetch = Callable[[Plan], list[TokenRows]]  # one rank's part of a plan -> its candidates of each step


def token_rows(table: pa.Table) -> TokenRows:
    """Rows of `fetch_rows` as the model's host-side columns."""

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


def split_by_step(rows: TokenRows, steps: NDArray[np.int64]) -> list[TokenRows]:
    """Rows ordered by step -> one set a step."""
    starts = np.flatnonzero(np.diff(steps, prepend=-1))
    return [
        rows.take(np.arange(begin, end)) for begin, end in zip(starts, [*starts[1:], len(steps)], strict=True)
    ]


def fetch_from_memory(sets: Sequence[Rows]) -> Fetch:
    """Rounds straight from sets of this process: no Ray, for a debugger and as the yardstick of speed."""
    by_task = dict(enumerate(sets))

    def fetch(plan: Plan) -> list[TokenRows]:
        return (
            split_by_step(token_rows(fetch_rows(by_task, plan.task, plan.row)), plan.step)
            if len(plan.row)
            else []
        )

    return fetch
