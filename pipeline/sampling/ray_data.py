"""Candidates fetched through Ray Data: the only file of this package that imports Ray.

Each rank runs one Ray Data execution per round over its part of the plan: blocks of a small table of (step, task,
row) become token rows in Ray tasks anywhere in the cluster. The plan, not the order of arrival, decides which rank
gets which row. Ray Data's tasks import this module, so its imports stay free of torch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import ray
import ray.data

from pipeline.compat import RAY_DATA_PROGRESS
from pipeline.data.preparation.prepared import PreparedSplit
from pipeline.sampling.fetch import RowSet, fetch_rows, open_row_sets

if TYPE_CHECKING:
    from camtl import TokenRows
    from pipeline.sampling.batches import Fetch
    from pipeline.sampling.plan import Plan

ROWS_PER_BLOCK = 2048  # planned rows that one Ray task fetches
STORE_SHARE = 0.25  # of the smallest node's object store; the rest holds rounds in flight and checkpoints


def make_ray_data_fetch(splits: Sequence[PreparedSplit], memory_bytes: int | None) -> Fetch:
    """Returns a fetch through Ray Data. Ray must be connected; the driver holds one split at a time.

    Args:
        splits: training rows of each task, in the order of the task ids.
        memory_bytes: most bytes of prepared rows in a node's object store; None is a quarter of the smallest
            node's store.

    Raises:
        ValueError: a prepared file that is loaded into memory is missing or corrupt.
    """
    if memory_bytes is None:
        stores = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
        memory_bytes = int(STORE_SHARE * min(stores))
    return partial(fetch_with_ray_data, [ray.put(row_set) for row_set in open_row_sets(splits, memory_bytes)])


def fetch_with_ray_data(row_sets: Sequence[ray.ObjectRef[RowSet]], plan: Plan) -> list[TokenRows]:
    """Fetches a round of one rank.

    Raises:
        ValueError: a file that is read from disk is missing or corrupt.
    """
    from pipeline.sampling.batches import split_by_step, to_token_rows

    if not len(plan.row):
        return []
    planned = pa.table({"position": np.arange(len(plan.row)), "task": plan.task, "row": plan.row})
    # Neighbouring rows are fetched together, so that one or two Ray tasks read a row group.
    planned = planned.sort_by([("task", "ascending"), ("row", "ascending")])
    starts = range(0, planned.num_rows, ROWS_PER_BLOCK)
    dataset = ray.data.from_arrow([planned.slice(start, ROWS_PER_BLOCK) for start in starts]).map_batches(
        partial(fetch_block, row_sets=list(row_sets)), batch_size=None, batch_format="pyarrow"
    )
    tables: list[pa.Table] = list(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    if problems := [table for table in tables if "problem" in table.column_names]:
        raise ValueError(problems[0]["problem"][0].as_py())
    fetched = pa.concat_tables(tables).sort_by("position")
    if fetched.num_rows != len(plan.row):
        raise RuntimeError(f"Ray Data returned {fetched.num_rows} of {len(plan.row)} planned rows")
    return split_by_step(to_token_rows(fetched), plan.step)


def fetch_block(planned: pa.Table, row_sets: Sequence[ray.ObjectRef[RowSet]]) -> pa.Table:
    """Runs in a Ray Data task: planned rows (`position`, `task`, `row`) become token rows.

    A data error is returned as a row of `problem`, because Ray would wrap an exception in its own.
    """
    task, row = planned["task"].to_numpy(), planned["row"].to_numpy()
    present = np.unique(task).tolist()
    row_sets_by_task = dict(zip(present, ray.get([row_sets[task_id] for task_id in present]), strict=True))
    try:
        return fetch_rows(row_sets_by_task, task, row).append_column("position", planned["position"])
    except ValueError as error:
        return pa.table({"problem": [str(error)]})


def configure_ray_data() -> None:
    """Silences Ray Data's progress bars and log lines, which every short execution would print."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    RAY_DATA_PROGRESS.setLevel(logging.ERROR)
