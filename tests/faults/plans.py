"""Which faults strike which run, and when: drawn with a seed before the first run starts."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.faults import FAULTS

# Where a run keeps what: all in its directory, checkpoints in a bucket or on a small disk, all on the small disk.
STORES = ("directory", "s3", "disk", "run-disk")
NEEDS = {"s3": "s3", "disk": "disk", "run-disk": "run-disk"}  # faults of a store need a run that uses it
AT_START = ("prepare",)  # before the first step, at most one of them a run
EARLY = ("node-preempted",)  # in the first tenth, as a run that is over notices nothing; at most one, too


@dataclass(frozen=True)
class Planned:
    """A fault: its kind, and the recorded step at which it strikes."""

    kind: str
    step: int


@dataclass(frozen=True)
class RunPlan:
    """A run, and the faults that strike it one after the other."""

    store: str
    faults: tuple[Planned, ...]

    @property
    def prepares(self) -> bool:
        """Whether it begins without prepared data."""
        return any(fault.kind in AT_START for fault in self.faults)


def plan_runs(kinds: Sequence[str], faults: int, *, per_run: int, steps: int, seed: int) -> list[RunPlan]:
    """Runs that together have so many faults, of all kinds equally many as far as that goes.

    Args:
        kinds: of `FAULTS`.
        faults: in all runs.
        per_run: most faults of a run.
        steps: of a run; faults strike in all but its last fifth.
        seed: decides everything.
    """
    chance = random.Random(seed)
    left: list[str] = []
    while len(left) < faults:
        left += chance.sample(list(kinds), len(kinds))
    del left[faults:]
    planned = []
    while left:
        of_run = [left.pop(0)]
        store = NEEDS.get(of_run[0])
        for kind in list(left):
            fits = NEEDS.get(kind) in (None, store) or store is None
            twice = kind in (*AT_START, *EARLY) and kind in of_run
            if fits and not twice and len(of_run) < per_run:
                left.remove(kind)
                of_run.append(kind)
                store = store or NEEDS.get(kind)
        moments = sorted(chance.sample(range(1, steps * 4 // 5), len(of_run)))
        chance.shuffle(of_run)
        of_run.sort(key=lambda kind: (kind not in AT_START, kind not in EARLY))
        planned.append(
            RunPlan(
                store or chance.choice(("directory", "s3")),
                tuple(
                    Planned(
                        kind, 0 if kind in AT_START else min(step, steps // 10) if kind in EARLY else step
                    )
                    for kind, step in zip(of_run, moments, strict=True)
                ),
            )
        )
    return planned


def known(kinds: Sequence[str]) -> list[str]:
    """The kinds asked for, all of them where none is.

    Raises:
        ValueError: there is no such kind.
    """
    if unknown := [kind for kind in kinds if kind not in FAULTS]:
        raise ValueError(f"no fault {unknown[0]!r}: there are {', '.join(FAULTS)}")
    return list(kinds) or list(FAULTS)
