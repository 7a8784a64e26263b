"""The plan of a round: which row of which task goes to which rank in which step.

A pure function, so that every rank can make it alone, the next round can be planned while this one
trains, and a resumed run finds the same rows. T tasks, n planned rows.

The order of a task's rows. Prepared rows are shuffled already; what is ordered here is an epoch's way
through them, a pure function of (seed, task, epoch) that gives every row once, computed for single
positions in O(1) memory. A set of up to `SCATTERED_ROWS` rows is scattered whole. A larger one may lie
on disk, where a row costs the reading of its row group: there blocks of `ROW_GROUP_ROWS` consecutive rows come
in a seeded order, and `WINDOW_BLOCKS` of them at a time are shuffled through. A block is a row group of the
prepared files, or lies in two where rows were left out that cannot be trained on. So n consecutive draws
touch n / ROW_GROUP_ROWS row groups and a few dozen more, not n.
The order depends on a set's size alone, never on where its rows are kept.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.preparation.schema import ROW_GROUP_ROWS

Ints = NDArray[np.int64]
Unsigned = NDArray[np.uint64]
FEISTEL_ROUNDS = 6
SCATTERED_ROWS = 65_536
WINDOW_BLOCKS = 16  # times ROW_GROUP_ROWS a power of four: the permutation of a window need not walk
WINDOW_ROWS = WINDOW_BLOCKS * ROW_GROUP_ROWS


@dataclass(frozen=True)
class Plan:
    """Planned rows, ordered by step and then by rank.

    Attributes:
        step: optimiser step, counted from 1 over the whole run, [n].
        rank: the worker that gets the row, [n].
        task: task id, [n].
        row: row of the task's prepared training set, [n].
        weights: shares of the tasks that the round was planned with, [T].
        drawn: rows of each task in this plan, [T].
    """

    step: Ints
    rank: Ints
    task: Ints
    row: Ints
    weights: NDArray[np.float64]
    drawn: Ints

    def of_rank(self, rank: int, after_step: int = 0) -> "Plan":
        """The rows of one rank, without the steps up to `after_step`."""
        keep = (self.rank == rank) & (self.step > after_step)
        columns = (self.step[keep], self.rank[keep], self.task[keep], self.row[keep])
        return Plan(*columns, self.weights, self.drawn)


def plan_round(
    *,
    seed: int,
    tasks: Sequence[str],
    sizes: Sequence[int],
    cursors: Sequence[int],
    weights: NDArray[np.float64],
    first_step: int,
    steps: int,
    candidates_per_step: int,
    world_size: int,
) -> Plan:
    """Plan `steps` steps of `candidates_per_step` rows each, over all ranks.

    Every task's total follows its weight within one row, and is spread evenly over the steps. A
    task's rows come in a seeded order per epoch and start over when they run out. The rows of a step
    are the same for every `world_size`; they are dealt out task by task, so that every rank gets
    an even share of every task.

    Args:
        seed: seed of the run.
        tasks: names; a task's order of rows depends on its name, not on its place.
        sizes: training rows of each task, [T].
        cursors: rows drawn from each task before this round, [T].
        weights: shares of the tasks, summing to 1, [T].
        first_step: number of the round's first step, counted from 1.
        steps: steps in the round.
        candidates_per_step: rows per step over all ranks.
        world_size: number of ranks.

    Raises:
        ValueError: fewer candidates than ranks.
    """
    if candidates_per_step < world_size:
        raise ValueError(
            f"{candidates_per_step} candidates a step cannot feed {world_size} workers: "
            "raise train.batch_size, or use fewer workers"
        )
    total = steps * candidates_per_step
    drawn = apportion(weights, total)
    task = np.repeat(np.arange(len(sizes)), drawn)
    number = np.arange(total) - np.repeat(np.cumsum(drawn) - drawn, drawn)  # 0, 1, … within each task
    offsets = np.random.default_rng([seed, first_step]).random(len(sizes))
    due = (number + offsets[task]) / drawn[task]  # when each row is due within the round, 0 to 1
    order = np.lexsort((task, due))
    step_of_row = np.empty(total, dtype=np.int64)
    step_of_row[order] = np.arange(total) // candidates_per_step

    draw = np.asarray(cursors, dtype=np.int64)[task] + number
    size_of_row = np.asarray(sizes, dtype=np.int64)[task]
    keys = np.asarray([zlib.crc32(name.encode()) for name in tasks], dtype=np.uint64)[task]
    row = seeded_row(draw % size_of_row, size_of_row, keys, draw // size_of_row, seed)

    by_step = np.lexsort((number, task, step_of_row))
    rank = np.arange(total) % candidates_per_step % world_size
    by_rank = np.lexsort((rank, step_of_row[by_step]))
    final = by_step[by_rank]
    return Plan(first_step + step_of_row[final], rank[by_rank], task[final], row[final], weights, drawn)


def apportion(weights: NDArray[np.float64], total: int) -> Ints:
    """Whole numbers that sum to `total` and follow `weights` [T] within one (largest remainders)."""
    exact = weights / weights.sum() * total
    counts = np.floor(exact).astype(np.int64)
    missing = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts


def seeded_row(position: Ints, size: Ints, key: Unsigned, epoch: Ints, seed: int) -> Ints:
    """The row that comes at `position` of an epoch, [n]; a permutation of 0 .. size - 1 (see above).

    Args:
        position: draws of the epoch before this one, [n].
        size: rows of the set, [n].
        key: number of the task, [n].
        epoch: [n].
        seed: seed of the run.
    """
    large = size > SCATTERED_ROWS
    row = np.empty_like(position)
    row[~large] = seeded_permutation(position[~large], size[~large], key[~large], epoch[~large], seed)
    if large.any():
        row[large] = _by_window(position[large], size[large], key[large], epoch[large], seed)
    return row


def _by_window(position: Ints, size: Ints, key: Unsigned, epoch: Ints, seed: int) -> Ints:
    """The order of large sets: as if the last window were full, walked until it lands inside."""

    def move(at: Ints, of: Ints) -> Ints:
        window, inside = np.divmod(at, WINDOW_ROWS)
        # A task's key is 32 bits wide, so no window shares its key with another order.
        window_key = key[of] + ((window.astype(np.uint64) + np.uint64(1)) << np.uint64(32))
        placed = seeded_permutation(inside, np.full_like(inside, WINDOW_ROWS), window_key, epoch[of], seed)
        slot = window * WINDOW_BLOCKS + placed // ROW_GROUP_ROWS
        block = seeded_permutation(slot, blocks[of], key[of], epoch[of], seed)
        return block * ROW_GROUP_ROWS + placed % ROW_GROUP_ROWS

    blocks = -(-size // WINDOW_ROWS) * WINDOW_BLOCKS
    row = move(position, np.arange(len(position)))
    while len(outside := np.flatnonzero(row >= size)):
        row[outside] = move(row[outside], outside)
    return row


def seeded_permutation(position: Ints, size: Ints, key: Unsigned, epoch: Ints, seed: int) -> Ints:
    """Where `position` lands in the order that (key, epoch, seed) gives to 0 .. size - 1.

    A Feistel network over the next power of four, walked until it lands inside: a permutation
    computed for single positions, without an array of `size` entries. All arguments are [n] or scalar.
    """
    half_bits = np.ceil(np.log2(np.maximum(size, 2)) / 2).astype(np.uint64)
    salt = _mix(key + _mix(epoch.astype(np.uint64) + _mix(np.full_like(key, seed % 2**63))))
    bound = size.astype(np.uint64)
    value = _network(position.astype(np.uint64), half_bits, salt)
    while len(outside := np.flatnonzero(value >= bound)):
        value[outside] = _network(value[outside], half_bits[outside], salt[outside])
    return value.astype(np.int64)


def _network(value: Unsigned, half_bits: Unsigned, salt: Unsigned) -> Unsigned:
    """A Feistel network over 2 * half_bits bits, [n]."""
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = value >> half_bits, value & mask
    for network_round in range(FEISTEL_ROUNDS):
        scrambled = _mix(right + salt + np.uint64(network_round * 0x9E3779B9))
        left, right = right, left ^ (scrambled & mask)
    return left << half_bits | right


def _mix(value: Unsigned) -> Unsigned:
    """SplitMix64's finaliser: every input bit reaches every output bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
