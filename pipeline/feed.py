"""Where the workers' rows come from: small sets from the object store, once per node; large ones from disk.

Which sets stay in memory is a matter of room alone. The rows of a step, and their order, are the same
either way (`pipeline.plan`), so a run may go on on machines with other memories.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import ray

from pipeline.fetch import RowGroups, Rows
from pipeline.mixture import Fetch, fetch_from_memory, fetch_with_ray_data
from pipeline.prepared import PreparedSplit, read_table

STORE_SHARE = 0.25  # of the smallest node's object store; the rest is for rounds on their way and checkpoints
Feed = Callable[[], Fetch]  # made by the driver, called on every worker


def feed_with_ray_data(splits: Sequence[PreparedSplit], in_memory_bytes: int | None) -> Feed:
    """Rounds through Ray Data. Ray is connected; the driver holds one set at a time.

    Args:
        splits: training rows of each task, in the order of the tasks' ids.
        in_memory_bytes: most bytes of prepared rows that lie in the object store of a node; None is a
            quarter of the smallest node's store.

    Raises:
        ValueError: a prepared file that is to be kept in memory is corrupt or not there.
    """
    if in_memory_bytes is None:
        stores = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
        in_memory_bytes = int(STORE_SHARE * min(stores))
    return partial(fetch_with_ray_data, [ray.put(rows) for rows in _rows(splits, in_memory_bytes)])


def feed_in_process(splits: Sequence[PreparedSplit], in_memory_bytes: int | None) -> Feed:
    """Rounds from this process's own memory and disk; None keeps all rows in memory."""
    limit = sum(split.bytes for split in splits) if in_memory_bytes is None else in_memory_bytes
    return partial(fetch_from_memory, list(_rows(splits, limit)))


def fitting(sizes: Sequence[int], limit: int) -> list[bool]:
    """Which of these sets stay in memory: the smallest, as long as all of them together are within a limit.

    Args:
        sizes: bytes of each set.
        limit: bytes of all that stay.
    """
    stay, used = [False] * len(sizes), 0
    for number in sorted(range(len(sizes)), key=lambda number: sizes[number]):
        used += sizes[number]
        stay[number] = used <= limit
    return stay


def _rows(splits: Sequence[PreparedSplit], limit: int) -> Iterator[Rows]:
    for split, stays in zip(splits, fitting([split.bytes for split in splits], limit), strict=True):
        yield read_table(split) if stays else RowGroups.of(split)
