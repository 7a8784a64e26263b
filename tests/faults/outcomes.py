"""What came of the faults, counted: a Markdown table for people, JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What came of one fault.

    Attributes:
        kind: of `FAULTS`.
        run: number of the run.
        store: where the run kept its checkpoints.
        step: newest recorded step when it struck.
        survived: the run got over it, and in the end equalled the undisturbed run.
        seconds: from the fault to a step beyond `step`, or to the run's end; None where that never came.
        resumed: how often the run had to be resumed by hand because of it.
        problem: what went wrong.
        ended: the last line of each time that the run ended with an error by itself.
    """

    kind: str
    run: int
    store: str
    step: int
    survived: bool
    seconds: float | None = None
    resumed: int = 0
    problem: str = ""
    ended: Sequence[str] = ()


@dataclass
class Report:
    """All that a set of runs has shown."""

    outcomes: list[Outcome] = field(default_factory=list)
    not_tried: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    run_seconds: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kinds": {row.pop("kind"): row for row in rows(self.outcomes)},
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
            "not_tried": self.not_tried,
            "notes": self.notes,
            "run_seconds": self.run_seconds,
        }

    def markdown(self) -> str:
        """The table, and beneath it what did not survive and what was not tried."""
        head = ["fault", "tried", "survived", "of these resumed by hand", "median s", "worst s"]
        lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
        for row in [*rows(self.outcomes), total(self.outcomes)]:
            lines.append("| " + " | ".join(_shown(value) for value in row.values()) + " |")
        lost = [
            f"- run {outcome.run} ({outcome.store}), {outcome.kind} at step {outcome.step}: {outcome.problem}"
            for outcome in self.outcomes
            if not outcome.survived
        ]
        parts = ["\n".join(lines)]
        for title, told in (("Not survived", lost), ("Not tried", self.not_tried), ("Notes", self.notes)):
            if told:
                parts.append(f"{title}:\n" + "\n".join(told))
        return "\n\n".join(parts)


def rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """A row of the table for each kind, in the order in which they first came."""
    return [
        _row(kind, [outcome for outcome in outcomes if outcome.kind == kind])
        for kind in dict.fromkeys(outcome.kind for outcome in outcomes)
    ]


def total(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The row of all of them."""
    return _row("all", outcomes)


def _row(kind: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    seconds = [outcome.seconds for outcome in outcomes if outcome.seconds is not None]
    survived = [outcome for outcome in outcomes if outcome.survived]
    return {
        "kind": kind,
        "tried": len(outcomes),
        "survived": len(survived),
        "resumed": sum(outcome.resumed > 0 for outcome in survived),
        "median_seconds": median(seconds) if seconds else None,
        "worst_seconds": max(seconds, default=None),
    }


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def judged(struck: Sequence[Outcome], problems: Sequence[str]) -> list[Outcome]:
    """The outcomes of a run's faults, after its end was looked at: a run with a problem clears none of them."""
    told = "; ".join(problems)
    return [replace(one, survived=False, problem=one.problem or told) if problems else one for one in struck]
