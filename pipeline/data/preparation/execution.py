"""Both stages of preparing splits on Ray: Ray Data reads and encodes blocks, then parts are written from them.

The writers of a split of up to `DIRECT_PARTS` parts take their rows out of its blocks in the object store, so they
read the split as often as it has parts. A larger split is brought together by Ray Data's hash shuffle. That reads it
once, but starts processes of its own for either of its halves, and seconds pass before the first row moves.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.compat import RAY_DATA_PROGRESS
from pipeline.data.preparation.parts import PROBLEM, Job, SplitPlan, encode_block, write_part

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.data import Dataset

DIRECT_PARTS = 16  # a million rows


def execute(
    jobs: Sequence[Job], plans: Sequence[SplitPlan], text: str, *, direct_parts: int = DIRECT_PARTS
) -> list[dict[str, Any]]:
    """Encodes blocks and writes parts.

    Args:
        jobs: The blocks.
        plans: All splits that they belong to, by first part.
        text: The tokenizer, from `tokenizer_json`.
        direct_parts: Most parts of a split that does without the hash shuffle.

    Returns:
        The rows of `write_part`, in any order; where a block cannot be used, perhaps not those of all parts.
    """
    results: list[dict[str, Any]] = []
    with _calm_ray_data():
        for run, few in ((_direct, True), (_shuffled, False)):
            own = [job for job in jobs if (len(job.split.parts()) <= direct_parts) == few]
            if own and not any(result["part"] == PROBLEM for result in results):
                results += run(own, plans, text)
    return results


def _encoded(jobs: Sequence[Job], text: str) -> Dataset:
    """The blocks' rows of `STAGED`."""
    import ray.data

    pickled = [{"job": pickle.dumps(job)} for job in jobs]
    return ray.data.from_items(pickled, override_num_blocks=len(jobs)).map_batches(
        partial(encode_block, text=text), batch_size=1, batch_format="pyarrow"
    )


def _direct(jobs: Sequence[Job], plans: Sequence[SplitPlan], text: str) -> list[dict[str, Any]]:
    """The writers read what they need of their split's blocks; each holds one part, as a shuffle's would."""
    import ray

    again = ray.remote(max_retries=-1)  # for tasks that are killed, as Ray Data does it
    contents: Any = again(_parts_in)
    write: Any = again(_write)
    blocks = _encoded(jobs, text).to_arrow_refs()
    blocks_of: dict[int, list[ObjectRef[pa.Table]]] = {}
    for block, numbers in zip(blocks, ray.get([contents.remote(block) for block in blocks]), strict=True):
        for number in numbers:
            blocks_of.setdefault(number, []).append(block)
    told = ray.put(plans)
    results: list[dict[str, Any]] = ray.get(
        [write.remote(number, own, told) for number, own in sorted(blocks_of.items())]
    )
    return results


def _parts_in(block: pa.Table) -> list[int]:
    numbers: list[int] = np.unique(block["part"].to_numpy()).tolist()
    return numbers


def _write(part: int, blocks: Sequence[ObjectRef[pa.Table]], plans: Sequence[SplitPlan]) -> dict[str, Any]:
    import ray

    # One block after another: together they may be more than the object store of a node holds.
    rows = [block.filter(pc.equal(block["part"], part)) for block in map(ray.get, blocks)]
    [result] = write_part(pa.concat_tables(rows), plans=plans).to_pylist()
    return dict(result)


def _shuffled(jobs: Sequence[Job], plans: Sequence[SplitPlan], text: str) -> list[dict[str, Any]]:
    sizes = {job.split.first_part: len(job.split.parts()) for job in jobs}
    results: list[dict[str, Any]] = (
        _encoded(jobs, text)
        .groupby("part", num_partitions=sum(sizes.values()))
        .map_groups(partial(write_part, plans=plans), batch_format="pyarrow")
        .take_all()
    )
    return results


@contextlib.contextmanager
def _calm_ray_data() -> Iterator[None]:
    """One progress bar on a terminal, none elsewhere, and no word but warnings."""
    import ray.data

    context = ray.data.DataContext.get_current()
    shown = {
        "enable_progress_bars": sys.stdout.isatty(),
        "enable_operator_progress_bars": False,
        "print_on_execution_start": False,
    }
    levels = {
        logging.getLogger("ray.data"): logging.WARNING,
        RAY_DATA_PROGRESS: logging.ERROR,
    }
    shown_before = {name: getattr(context, name) for name in shown}
    levels_before = {log: log.level for log in levels}
    try:
        _apply(context, shown, levels)
        yield
    finally:
        _apply(context, shown_before, levels_before)


def _apply(context: object, shown: Mapping[str, bool], levels: Mapping[logging.Logger, int]) -> None:
    for name, value in shown.items():
        setattr(context, name, value)
    for log, level in levels.items():
        log.setLevel(level)
