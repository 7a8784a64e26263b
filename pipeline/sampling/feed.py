"""Which prepared sets stay in memory (the smallest) and which are read from disk by row group.

Only memory decides. The rows of a step and their order are the same either way (`pipeline.sampling.plan`), so a
run may resume on machines with other memories.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from pipeline.data.preparation.prepared import PreparedSplit, read_table
from pipeline.sampling.batches import Fetch, fetch_from_memory
from pipeline.sampling.fetch import RowGroups, Rows

Feed = Callable[[], Fetch]  # made by the driver, called on every worker


def feed_in_process(splits: Sequence[PreparedSplit], in_memory_bytes: int | None) -> Feed:
    """Rounds from this process's own memory and disk; None keeps all rows in memory."""
    limit = sum(split.bytes for split in splits) if in_memory_bytes is None else in_memory_bytes
    return partial(fetch_from_memory, list(open_sets(splits, limit)))


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


def open_sets(splits: Sequence[PreparedSplit], limit: int) -> Iterator[Rows]:
    for split, stays in zip(splits, fitting([split.bytes for split in splits], limit), strict=True):
        yield read_table(split) if stays else RowGroups.of(split)
