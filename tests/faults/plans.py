"""Which faults strike which run at which step: drawn with a seed before the first run starts."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.faults import FAULTS

# What a run keeps where: all in its directory, checkpoints in a bucket or on a small disk, all on the small disk.
STORES = ("directory", "s3", "disk", "run-disk")
NEEDS = {"s3": "s3", "disk": "disk", "run-disk": "run-disk"}  # a fault of a store needs a run that uses it
AT_START = ("prepare",)  # before the first step, at most one per run
EARLY = ("node-preempted",)  # in the first tenth, as a run near its end sees no notice; at most one per run


@dataclass(frozen=True)
class PlannedFault:
    """A kind of fault, and the recorded step at which it strikes."""

    kind: str
    step: int


@dataclass(frozen=True)
class RunPlan:
    """A run, and the faults that strike it one after the other."""

    store: str
    faults: tuple[PlannedFault, ...]

    @property
    def prepares(self) -> bool:
        """Whether the run starts without prepared data."""
        return any(fault.kind in AT_START for fault in self.faults)


def plan_runs(kinds: Sequence[str], faults: int, *, per_run: int, steps: int, seed: int) -> list[RunPlan]:
    """Plans runs that together have a number of faults, of each kind about equally many.

    No fault strikes in the last fifth of a run's steps.
    """
    chance = random.Random(seed)
    remaining: list[str] = []
    while len(remaining) < faults:
        remaining += chance.sample(list(kinds), len(kinds))
    del remaining[faults:]
    plans = []
    while remaining:
        chosen = [remaining.pop(0)]
        store = NEEDS.get(chosen[0])
        for kind in list(remaining):
            fits = NEEDS.get(kind) in (None, store) or store is None
            repeated = kind in (*AT_START, *EARLY) and kind in chosen
            if fits and not repeated and len(chosen) < per_run:
                remaining.remove(kind)
                chosen.append(kind)
                store = store or NEEDS.get(kind)
        moments = sorted(chance.sample(range(1, steps * 4 // 5), len(chosen)))
        chance.shuffle(chosen)
        chosen.sort(key=lambda kind: (kind not in AT_START, kind not in EARLY))
        planned = []
        for kind, step in zip(chosen, moments, strict=True):
            limit = 0 if kind in AT_START else steps // 10 if kind in EARLY else steps
            planned.append(PlannedFault(kind, min(step, limit)))
        plans.append(RunPlan(store or chance.choice(("directory", "s3")), tuple(planned)))
    return plans


def check_kinds(kinds: Sequence[str]) -> list[str]:
    """Returns the requested kinds of faults, or all if none is requested.

    Raises:
        ValueError: A kind is unknown.
    """
    if unknown := [kind for kind in kinds if kind not in FAULTS]:
        raise ValueError(f"no fault {unknown[0]!r}: use one of {', '.join(FAULTS)}")
    return list(kinds) or list(FAULTS)
