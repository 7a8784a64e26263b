"""Runs both stages of preparing splits on Ray: Ray Data encodes blocks, then parts are written from them.

The writers of a split of up to `DIRECT_PARTS` parts select their rows from its blocks in the object store, so they
read the split once per part. Ray Data's hash shuffle groups a larger split. It reads the split once, but starts
processes for each of its halves, which takes seconds before the first row moves.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from pipeline.data.preparation.parts import PROBLEM, EncodeTask, SplitSpec, encode_block, write_part

if TYPE_CHECKING:
    from ray.data import Dataset  # imported in functions, because writers' processes need no Ray Data

DIRECT_PARTS = 16  # a million rows
Results = list[dict[str, Any]]  # rows of `write_part`


def execute(
    tasks: Sequence[EncodeTask],
    splits: Sequence[SplitSpec],
    tokenizer: str,
    *,
    direct_parts: int = DIRECT_PARTS,
) -> Results:
    """Encodes blocks and writes parts, with one progress bar on a terminal.

    Args:
        tasks: The blocks to encode.
        splits: Their splits, by first part.
        tokenizer: JSON from `tokenizer_json`.
        direct_parts: Largest number of parts of a split that does not use the hash shuffle.

    Returns:
        Results, in any order. Parts may be missing where a block has a problem.
    """
    from ray.data import DataContext

    context = DataContext.get_current().copy()
    context.enable_progress_bars = sys.stdout.isatty()
    context.enable_operator_progress_bars = context.print_on_execution_start = False
    small = [task for task in tasks if len(task.split.parts()) <= direct_parts]
    large = [task for task in tasks if len(task.split.parts()) > direct_parts]
    with DataContext.current(context):
        results = _run_direct(small, splits, tokenizer) if small else []
        if large and not any(result["part"] == PROBLEM for result in results):
            results += _run_shuffled(large, splits, tokenizer)
    return results


def _encode(tasks: Sequence[EncodeTask], tokenizer: str) -> Dataset:
    """Returns the blocks' rows of `STAGED`."""
    import ray.data

    pickled = [{"task": pickle.dumps(task)} for task in tasks]
    return ray.data.from_items(pickled, override_num_blocks=len(tasks)).map_batches(
        partial(encode_block, tokenizer=tokenizer), batch_size=1, batch_format="pyarrow"
    )


def _run_direct(tasks: Sequence[EncodeTask], splits: Sequence[SplitSpec], tokenizer: str) -> Results:
    """Starts a writer per part, with references to the encoded blocks that have rows of it."""
    remote = ray.remote(max_retries=-1)  # as Ray Data does for tasks that are killed
    list_parts: Any = remote(lambda block: np.unique(block["part"].to_numpy()).tolist())
    write: Any = remote(_write)
    blocks = _encode(tasks, tokenizer).to_arrow_refs()
    blocks_of: dict[int, list[ray.ObjectRef[pa.Table]]] = {}
    for block, parts in zip(blocks, ray.get([list_parts.remote(block) for block in blocks]), strict=True):
        for part in parts:
            blocks_of.setdefault(part, []).append(block)
    shared = ray.put(splits)
    results: Results = ray.get([write.remote(part, refs, shared) for part, refs in sorted(blocks_of.items())])
    return results


def _write(
    part: int, blocks: Sequence[ray.ObjectRef[pa.Table]], splits: Sequence[SplitSpec]
) -> dict[str, Any]:
    # One block at a time: together they may exceed the object store of a node.
    rows = [block.filter(pc.equal(block["part"], part)) for block in map(ray.get, blocks)]
    result: dict[str, Any] = write_part(pa.concat_tables(rows), splits=splits).to_pylist()[0]
    return result


def _run_shuffled(tasks: Sequence[EncodeTask], splits: Sequence[SplitSpec], tokenizer: str) -> Results:
    sizes = {task.split.first_part: len(task.split.parts()) for task in tasks}
    results: Results = (
        _encode(tasks, tokenizer)
        .groupby("part", num_partitions=sum(sizes.values()))
        .map_groups(partial(write_part, splits=splits), batch_format="pyarrow")
        .take_all()
    )
    return results
