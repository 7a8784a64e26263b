"""Follows a sweep from its driver: its log, a line for a person, and each trial's state in MLflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from ray.tune import Callback

from pipeline.errors import first_line
from pipeline.experiments.tune.log import FAILED, FINISHED, RUNNING, STOPPED, SweepLog, TrialRecord
from pipeline.experiments.tune.space import described
from pipeline.experiments.tune.trial import TRIALS
from pipeline.runs.mirror import RUN_ID
from pipeline.tracking.server import request_limits
from pipeline.tracking.texts import TAG_LENGTH, shorten
from pipeline.tracking.tracker import Tracker

logger = logging.getLogger(__name__)
MLFLOW_STATUS = {FINISHED: "FINISHED", STOPPED: "KILLED", FAILED: "FAILED", RUNNING: "RUNNING"}


class FollowTrials(Callback):
    """Ray Tune's callback: it is called in the sweep's own process, for one trial at a time."""

    def __init__(
        self,
        folder: Path,
        log: SweepLog,
        tracker: Tracker,
        show: Callable[[str], None],
    ) -> None:
        """`log` may know trials of earlier processes."""
        self._folder = folder
        self.log = log
        self._tracker = tracker
        self._show = show
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Of the sweep, all its processes together."""
        return self.log.seconds + time.monotonic() - self._began

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process begins, at first or again."""
        again = trial.trial_id in self.log.trials
        record = self.log.of(trial.trial_id, trial.config)
        record.status = RUNNING
        if not again:
            self._show(f"trial {record.number} begins: {described(record.drawn)}")
        self._save()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial has evaluated, or ended."""
        record = self.log.of(trial.trial_id, trial.config)
        before = len(record.history)
        record.hear(result)
        if result.get("ended"):
            record.status = FINISHED
        elif len(record.history) > before:
            self._show(f"trial {record.number} step {record.step}: average {record.average:.2f}")
            self._mark(record, rung=str(record.step))
        self._save()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has ended or was stopped."""
        record = self.log.of(trial.trial_id, trial.config)
        if record.status != FINISHED:
            record.status = STOPPED
        self._mark(record, rung=str(record.step), status=record.status)
        score = "without a score" if record.average is None else f"average {record.average:.2f}"
        self._show(
            f"trial {record.number} {record.status} at step {record.step}: {score}; {self._standing()}"
        )
        self._save()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has failed and is tried again."""
        record = self.log.of(trial.trial_id, trial.config)
        record.error = _why(trial)
        self._show(
            f"trial {record.number} failed ({record.error}): it is tried again from its last checkpoint"
        )
        self._save()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has failed for good."""
        record = self.log.of(trial.trial_id, trial.config)
        record.status, record.error = FAILED, _why(trial)
        self._mark(record, status=FAILED, error=record.error)
        self._show(f"trial {record.number} failed and is left aside: {record.error}")
        self._save()

    def stop_running(self) -> None:
        """Takes trials that nothing runs any more for stopped: their sweep was lost, or its time is up."""
        for record in self.log.trials.values():
            if record.status == RUNNING:
                record.status = STOPPED
        self._save()

    def mark_ended(self) -> None:
        """At the end of the sweep: the process of a trial that was stopped may have had the last word on its run."""
        for record in self.log.trials.values():
            self._mark(record, rung=str(record.step), status=record.status)

    def _standing(self) -> str:
        finished = self.log.finished()
        best = (
            f"best {finished[0].average:.2f} of trial {finished[0].number}"
            if finished
            else "none finished yet"
        )
        ended = sum(record.status != RUNNING for record in self.log.trials.values())
        return f"{ended} trials ended, {best}"

    def _save(self) -> None:
        self.log.save(self.seconds)
        if finished := self.log.finished():
            values = {
                "sweep/best_average": finished[0].average or 0.0,
                "sweep/trials_finished": len(finished),
            }
            self._tracker.log_metrics(values, len(finished))
        self._tracker.flush()

    def _mark(self, record: TrialRecord, **tags: str) -> None:
        """Tags of the trial's MLflow run, and its status where it has ended."""
        path = self._folder / TRIALS / record.id / RUN_ID
        if not path.is_file():
            return
        run_id = path.read_text().strip()
        try:
            with request_limits(4):
                client = MlflowClient(self._tracker.tracking_uri)
                for name, value in tags.items():
                    client.set_tag(run_id, name, shorten(value, TAG_LENGTH))
                if "status" in tags:
                    client.set_terminated(run_id, MLFLOW_STATUS[tags["status"]])
        except Exception as error:  # whatever the client raises: the sweep goes on
            logger.warning(
                "MLflow does not know that trial %s is %s (%s)", record.number, tags, first_line(error)
            )


def _why(trial: Any) -> str:
    """The last line of a trial's error."""
    path = getattr(trial, "error_file", None)
    if path and Path(path).is_file():
        lines = [line.strip() for line in Path(path).read_text(errors="replace").splitlines() if line.strip()]
        return shorten(lines[-1], 300) if lines else "no reason given"
    return "no reason given"
