"""The outcomes of the faults, counted: a Markdown table for people, JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Outcome:
    """The outcome of one fault.

    Attributes:
        kind: Key of `FAULTS`.
        run: Number of the run.
        store: Where the run kept its checkpoints.
        step: Newest recorded step when the fault struck.
        survived: Whether the run recovered and in the end equalled the undisturbed run.
        seconds: From the fault to a later step or to the run's end; None where neither came.
        resumed: Number of times that the fault required a resume by hand.
        problem: What went wrong.
        errors: Last line of the log each time that the run ended with an error.
    """

    kind: str
    run: int
    store: str
    step: int
    survived: bool
    seconds: float | None = None
    resumed: int = 0
    problem: str = ""
    errors: Sequence[str] = ()


@dataclass
class FaultReport:
    """The results of a set of runs."""

    outcomes: list[Outcome] = field(default_factory=list)
    not_tried: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    run_seconds: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report for JSON."""
        kinds = count_by_kind(self.outcomes).astype(object)
        return {"kinds": kinds.where(kinds.notna(), None).to_dict("index"), **asdict(self)}

    def markdown(self) -> str:
        """Returns the table, and below it the faults that were not survived or not tried."""
        total = count_by_kind([replace(outcome, kind="all") for outcome in self.outcomes])
        counts = pd.concat([count_by_kind(self.outcomes), total])
        lines = ["| fault | tried | survived | of these resumed by hand | median s | worst s |"]
        lines.append("|---|" + "---:|" * 5)
        for row in counts.itertuples():
            median, worst = ("–" if pd.isna(value) else f"{value:.1f}" for value in row[4:])
            lines.append(f"| {row[0]} | {row[1]} | {row[2]} | {row[3]} | {median} | {worst} |")
        lost = [
            f"- run {outcome.run} ({outcome.store}), {outcome.kind} at step {outcome.step}: {outcome.problem}"
            for outcome in self.outcomes
            if not outcome.survived
        ]
        parts = ["\n".join(lines)]
        for title, listed in (("Not survived", lost), ("Not tried", self.not_tried), ("Notes", self.notes)):
            if listed:
                parts.append(f"{title}:\n" + "\n".join(listed))
        return "\n\n".join(parts)


def count_by_kind(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Returns a row of counts and recovery times for each kind, in order of first appearance."""
    table = pd.DataFrame([asdict(outcome) for outcome in outcomes], columns=list(Outcome.__annotations__))
    table["resumed"] = table["survived"].astype(bool) & (table["resumed"] > 0)
    return (
        table.astype({"seconds": float})
        .groupby("kind", sort=False)
        .agg(
            tried=("survived", "size"),
            survived=("survived", "sum"),
            resumed=("resumed", "sum"),
            median_seconds=("seconds", "median"),
            worst_seconds=("seconds", "max"),
        )
    )


def apply_problems(outcomes: Sequence[Outcome], problems: Sequence[str]) -> list[Outcome]:
    """Returns the outcomes of a run; if it has a problem, none of its faults counts as survived."""
    if not problems:
        return list(outcomes)
    problem = "; ".join(problems)
    return [replace(each, survived=False, problem=each.problem or problem) for each in outcomes]
