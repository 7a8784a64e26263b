"""Mean and spread over seeds, and the paired t-test of two groups of runs. Pure functions of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

FEWEST_SEEDS = 3  # that two groups have to share before a test says anything at all
SAME = 1e-9  # points on the 0–100 scale: differences that spread less are equal but for rounding


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); of a single value there is no spread."""
    return mean(values), stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Paired:
    """What a group is better by than the one it is held against, over the seeds that both have.

    Attributes:
        seeds: shared seeds, in order.
        difference: mean over them, in points; None where they share none.
        low, high: ends of its 95 % confidence interval by Student's t; None with fewer than three seeds.
        p: of the two-sided paired t-test; None with fewer than three seeds, and where the difference is the same at
            every seed, for then there is no spread to hold it against.
    """

    seeds: tuple[int, ...]
    difference: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def paired(reference: Mapping[int, float], other: Mapping[int, float]) -> Paired:
    """`other` against `reference`, both {seed: score}."""
    seeds = tuple(sorted(reference.keys() & other.keys()))
    differences = [other[seed] - reference[seed] for seed in seeds]
    if len(seeds) < FEWEST_SEEDS:
        return Paired(seeds, mean(differences) if seeds else None)
    middle, deviation = mean(differences), stdev(differences)
    if deviation < SAME:
        return Paired(seeds, middle, middle, middle)
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(seeds) - 1)) * deviation / sqrt(len(seeds))
    p = stats.ttest_rel([other[seed] for seed in seeds], [reference[seed] for seed in seeds]).pvalue
    return Paired(seeds, middle, middle - half, middle + half, float(p))
