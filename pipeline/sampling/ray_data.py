"""Rounds through Ray Data: the only file of this package that imports Ray.

Each rank runs one Ray Data execution a round over its own part of the plan: a small table of (step, task, row)
whose blocks become token rows in Ray tasks anywhere in the cluster. The plan, not the order of arrival, says which
rank gets what.

Ray Data's tasks import this module. Its imports stay free of torch, which would cost a task more than its work.
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
from pipeline.sampling.fetch import Rows, fetch_rows

if TYPE_CHECKING:
    from camtl import TokenRows
    from pipeline.sampling.batches import Fetch
    from pipeline.sampling.feed import Feed
    from pipeline.sampling.plan import Plan

ROWS_PER_BLOCK = 2048  # planned rows that one Ray task fetches
STORE_SHARE = 0.25  # of the smallest node's object store; the rest is for rounds on their way and checkpoints


def feed_with_ray_data(splits: Sequence[PreparedSplit], in_memory_bytes: int | None) -> Feed:
    """Rounds through Ray Data. Ray is connected; the driver holds one set at a time.

    Args:
        splits: training rows of each task, in the order of the tasks' ids.
        in_memory_bytes: most bytes of prepared rows that lie in the object store of a node; None is a
            quarter of the smallest node's store.

    Raises:
        ValueError: a prepared file that is to be kept in memory is corrupt or not there.
    """
    from pipeline.sampling.feed import open_sets

    if in_memory_bytes is None:
        stores = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
        in_memory_bytes = int(STORE_SHARE * min(stores))
    return partial(fetch_with_ray_data, [ray.put(rows) for rows in open_sets(splits, in_memory_bytes)])


def fetch_with_ray_data(sets: Sequence[ray.ObjectRef[Rows]]) -> Fetch:
    """Rounds through Ray Data, from prepared sets in the object store: tables, or where to read them.

    The fetch raises ValueError where a file of a set that is read from disk is corrupt or not there.
    """
    from pipeline.sampling.batches import split_by_step, token_rows

    def fetch(plan: Plan) -> list[TokenRows]:
        if not len(plan.row):
            return []
        planned = pa.table({"position": np.arange(len(plan.row)), "task": plan.task, "row": plan.row})
        # Rows that lie together are fetched together: a row group is read by one Ray task, or two.
        planned = planned.sort_by([("task", "ascending"), ("row", "ascending")])
        blocks = [
            planned.slice(start, ROWS_PER_BLOCK) for start in range(0, planned.num_rows, ROWS_PER_BLOCK)
        ]
        dataset = ray.data.from_arrow(blocks).map_batches(
            partial(fetch_block, sets=list(sets)), batch_size=None, batch_format="pyarrow"
        )
        batches: list[pa.Table] = list(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
        if problems := [batch for batch in batches if "problem" in batch.column_names]:
            raise ValueError(problems[0]["problem"][0].as_py())
        fetched = pa.concat_tables(batches).sort_by("position")
        if fetched.num_rows != len(plan.row):
            raise RuntimeError(f"Ray Data gave {fetched.num_rows} of {len(plan.row)} planned rows")
        return split_by_step(token_rows(fetched), plan.step)

    return fetch


def fetch_block(planned: pa.Table, sets: Sequence[ray.ObjectRef[Rows]]) -> pa.Table:
    """What one task of Ray Data does: planned rows (`position`, `task`, `row`) become token rows.

    A fault in the data comes back as a row of `problem`: an exception would arrive wrapped in Ray's own.
    """
    task, row = planned["task"].to_numpy(), planned["row"].to_numpy()
    present = [int(task_id) for task_id in np.unique(task)]
    held = dict(zip(present, ray.get([sets[task_id] for task_id in present]), strict=True))
    try:
        return fetch_rows(held, task, row).append_column("position", planned["position"])
    except ValueError as error:
        return pa.table({"problem": [str(error)]})


def configure_ray_data() -> None:
    """Calm Ray Data for many short executions: no progress bars, no line per execution."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    RAY_DATA_PROGRESS.setLevel(logging.ERROR)
