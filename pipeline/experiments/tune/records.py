"""The records of a sweep's trials. `trials.json` has all that a later session needs to continue the sweep."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped", "failed"


@dataclass
class TrialRecord:
    """One trial.

    Attributes:
        id: Name of its run directory and of its MLflow run.
        number: Position in the order in which trials began, from 1.
        drawn: {dimension: value} from the search.
        status: running, finished, stopped (by ASHA, or by a limit of the sweep) or failed.
        history: (step, average, rows trained) of each evaluation.
        average, rows_trained: Of the last evaluation.
        parameters, seconds: Of a finished trial, as in its `results.json`.
        error: Last line of the last failure.
        generation: Number of times that the sweep's settings had changed; trials of one generation are comparable.
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

    def update(self, result: Mapping[str, Any]) -> None:
        """Adds a result that the trial reported. A resumed trial may report a step again."""
        step = int(result["step"])
        self.average, self.rows_trained = float(result["average"]), int(result["rows_trained"])
        if all(step != earlier for earlier, _, _ in self.history):
            self.history.append((step, self.average, self.rows_trained))
        if result.get("ended"):
            self.parameters, self.seconds = int(result["parameters"]), float(result["seconds"])

    @property
    def step(self) -> int:
        """Step of the last evaluation; 0 before the first."""
        return self.history[-1][0] if self.history else 0


class SweepLog:
    """All trials of a sweep, {id: record}, and the `seconds` of its earlier sessions. One process writes the file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "trials.json"
        self.trials: dict[str, TrialRecord] = {}
        self.seconds, self.generation = 0.0, 0
        if self._path.is_file():
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            self.seconds, self.generation = stored["seconds"], stored["generation"]
            for fields in stored["trials"]:
                fields["history"] = [tuple(point) for point in fields["history"]]
                self.trials[fields["id"]] = TrialRecord(**fields)

    def record(self, trial_id: str, drawn: Mapping[str, Any]) -> TrialRecord:
        """Returns a trial's record; creates it for a new trial."""
        new = TrialRecord(trial_id, len(self.trials) + 1, dict(drawn), generation=self.generation)
        return self.trials.setdefault(trial_id, new)

    def save(self, seconds: float) -> None:
        """Replaces the file atomically."""
        trials = [asdict(record) for record in self.trials.values()]
        stored = {"seconds": seconds, "generation": self.generation, "trials": trials}
        unfinished = self._path.with_suffix(".part")
        unfinished.write_text(json.dumps(stored, indent=1), encoding="utf-8")
        os.replace(unfinished, self._path)

    def with_status(self, status: str) -> list[TrialRecord]:
        """Returns the trials of a status, the best average first."""
        records = [record for record in self.trials.values() if record.status == status]
        return sorted(records, key=lambda record: (-(record.average or 0.0), record.number))

    def latest_generation(self) -> list[TrialRecord]:
        """Returns the trials since the last change of the settings."""
        return [record for record in self.trials.values() if record.generation == self.generation]
