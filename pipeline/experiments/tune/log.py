"""What became of a sweep's trials: kept in a file, and told line by line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TRIALS_FILE = "trials.json"
RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped", "failed"


@dataclass
class TrialRecord:
    """One trial.

    Attributes:
        id: Name of its folder and of its MLflow run.
        number: From 1, in the order in which trials began.
        drawn: What the search drew.
        status: running, finished, stopped (early, or with the sweep) or failed.
        history: (step, average, rows trained) of each evaluation.
        average, rows_trained, parameters, seconds: Of a finished one, as in its `results.json`.
        error: Of the last failure, one line.
        generation: Counts the changes of the sweep's settings; trials of one compare in everything.
    """

    id: str
    number: int
    drawn: dict[str, Any]
    status: str = RUNNING
    history: list[tuple[int, float, int]] = field(default_factory=list)
    average: float | None = None
    rows_trained: int | None = None
    parameters: int | None = None
    seconds: float | None = None
    error: str = ""
    generation: int = 0

    def hear(self, result: Mapping[str, Any]) -> None:
        """Takes what the trial reported."""
        step = int(result["step"])
        if not any(step == told for told, _, _ in self.history):
            self.history.append((step, float(result["average"]), int(result["rows_trained"])))
        self.average, self.rows_trained = float(result["average"]), int(result["rows_trained"])
        if result.get("ended"):
            self.parameters, self.seconds = int(result["parameters"]), float(result["seconds"])

    @property
    def step(self) -> int:
        """Of the last evaluation; 0 before the first."""
        return self.history[-1][0] if self.history else 0


class SweepLog:
    """The records of all trials, in `trials.json` of the sweep's folder; one process writes it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TRIALS_FILE
        self.trials: dict[str, TrialRecord] = {}
        self.seconds = 0.0
        """Of the sweep, before this process."""
        self.generation = 0
        if self._path.is_file():
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            self.seconds, self.generation = stored["seconds"], stored["generation"]
            for one in stored["trials"]:
                one["history"] = [tuple(point) for point in one["history"]]
                self.trials[one["id"]] = TrialRecord(**one)

    def of(self, trial_id: str, drawn: Mapping[str, Any]) -> TrialRecord:
        """A trial's record, new or known."""
        if trial_id not in self.trials:
            self.trials[trial_id] = TrialRecord(
                trial_id, len(self.trials) + 1, dict(drawn), generation=self.generation
            )
        return self.trials[trial_id]

    def save(self, seconds: float) -> None:
        """Writes the file, whole or not at all."""
        trials = [asdict(record) for record in self.trials.values()]
        unfinished = self._path.with_suffix(".part")
        stored = {"seconds": seconds, "generation": self.generation, "trials": trials}
        unfinished.write_text(json.dumps(stored, indent=1), encoding="utf-8")
        os.replace(unfinished, self._path)

    def finished(self) -> list[TrialRecord]:
        """Trials that ran to their end, the best average first."""
        ended = [record for record in self.trials.values() if record.status == FINISHED]
        return sorted(ended, key=lambda record: (-(record.average or 0.0), record.number))

    def of_generation(self) -> list[TrialRecord]:
        """Trials since the settings changed last."""
        return [record for record in self.trials.values() if record.generation == self.generation]

    def count(self, status: str) -> int:
        """Trials of a status."""
        return sum(record.status == status for record in self.trials.values())


def pareto(records: list[TrialRecord], objectives: tuple[str, ...]) -> list[TrialRecord]:
    """Those that no other one beats in every objective: a higher average, fewer rows or parameters."""

    def key(record: TrialRecord) -> list[float]:
        return [
            -float(getattr(record, name)) if name == "average" else float(getattr(record, name))
            for name in objectives
        ]

    def beaten(record: TrialRecord) -> bool:
        mine = key(record)
        return any(
            all(a <= b for a, b in zip(key(other), mine, strict=True)) and key(other) != mine
            for other in records
        )

    return [record for record in records if not beaten(record)]
