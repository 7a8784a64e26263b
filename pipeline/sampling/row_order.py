"""The order of a task's rows within an epoch: a permutation of (seed, task, epoch), computed per position.

It needs O(1) memory and never holds the order of a complete set. Prepared rows are already shuffled once.
A set of up to `SCATTERED_ROWS` rows is permuted as one. A larger set may lie on disk, where a row costs the read of its
row group. There, groups of `ROW_GROUP_ROWS` consecutive rows come in a seeded order, and rows are shuffled within
windows of `WINDOW_GROUPS` groups: n consecutive draws touch n / ROW_GROUP_ROWS groups and a few dozen more, not n.
(Where preparation left out rows, such a group spans two row groups of the file.)
The order depends on the set's size alone, not on where its rows are stored. n is the number of positions.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.data.preparation.schema import ROW_GROUP_ROWS
from pipeline.sampling.arrays import Ints

Unsigned = NDArray[np.uint64]
FEISTEL_ROUNDS = 6
SCATTERED_ROWS = 65_536
# WINDOW_ROWS is then a power of four, the size that the network permutes without repetition
WINDOW_GROUPS = 16
WINDOW_ROWS = WINDOW_GROUPS * ROW_GROUP_ROWS


def seeded_row(position: Ints, size: Ints, key: Unsigned, epoch: Ints, seed: int) -> Ints:
    """The row at `position` of an epoch, [n]; over all positions a permutation of 0 .. size - 1.

    Args:
        position: draws of the epoch before this one, [n].
        size: rows of the set, [n].
        key: number of the task, below 2**32, [n].
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
    """The order of large sets. It permutes complete windows; a result beyond the last row is permuted again."""

    def move(start: Ints, index: Ints) -> Ints:
        window, inside = np.divmod(start, WINDOW_ROWS)
        # A task's key is 32 bits wide, so no window shares its key with another order.
        window_key = key[index] + ((window.astype(np.uint64) + np.uint64(1)) << np.uint64(32))
        within = seeded_permutation(inside, np.full_like(inside, WINDOW_ROWS), window_key, epoch[index], seed)
        slot = window * WINDOW_GROUPS + within // ROW_GROUP_ROWS
        group = seeded_permutation(slot, groups[index], key[index], epoch[index], seed)
        return group * ROW_GROUP_ROWS + within % ROW_GROUP_ROWS

    groups = -(-size // WINDOW_ROWS) * WINDOW_GROUPS
    row = move(position, np.arange(len(position)))
    while len(outside := np.flatnonzero(row >= size)):
        row[outside] = move(row[outside], outside)
    return row


def seeded_permutation(position: Ints, size: Ints, key: Unsigned, epoch: Ints, seed: int) -> Ints:
    """The image of `position` under the permutation of 0 .. size - 1 that (key, epoch, seed) selects; [n] each.

    A Feistel network over the next power of four, applied until the value lands below `size`.
    """
    half_bits = np.ceil(np.log2(np.maximum(size, 2)) / 2).astype(np.uint64)
    salt = _mix(key + _mix(epoch.astype(np.uint64) + _mix(np.full_like(key, seed % 2**63))))
    bound = size.astype(np.uint64)
    value = _feistel(position.astype(np.uint64), half_bits, salt)
    while len(outside := np.flatnonzero(value >= bound)):
        value[outside] = _feistel(value[outside], half_bits[outside], salt[outside])
    return value.astype(np.int64)


def _feistel(value: Unsigned, half_bits: Unsigned, salt: Unsigned) -> Unsigned:
    """A Feistel network over 2 * half_bits bits, [n]."""
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = value >> half_bits, value & mask
    for number in range(FEISTEL_ROUNDS):
        scrambled = _mix(right + salt + np.uint64(number * 0x9E3779B9))
        left, right = right, left ^ (scrambled & mask)
    return left << half_bits | right


def _mix(value: Unsigned) -> Unsigned:
    """SplitMix64's finaliser: every input bit reaches every output bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
