"""Follows a sweep in its driver: the records of its trials, progress lines and each trial's state in MLflow."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from ray.tune import Callback

from pipeline.errors import first_line
from pipeline.experiments.tune.records import FAILED, FINISHED, RUNNING, STOPPED, SweepLog, TrialRecord
from pipeline.experiments.tune.space import describe_draw
from pipeline.experiments.tune.trial import TRIALS
from pipeline.runs.mirror import RUN_ID
from pipeline.tracking.server import request_limits
from pipeline.tracking.texts import TAG_LENGTH, shorten
from pipeline.tracking.tracker import Tracker

logger = logging.getLogger(__name__)
# A trial that is still "running" when the session ends was interrupted.
MLFLOW_STATUS = {FINISHED: "FINISHED", STOPPED: "KILLED", FAILED: "FAILED", RUNNING: "KILLED"}


class SweepMonitor(Callback):
    """Ray Tune's callback: Tune calls it in the driver, for one trial at a time."""

    def __init__(self, folder: Path, tracker: Tracker, show: Callable[[str], None]) -> None:
        """Reads the records of earlier sessions from the sweep's folder; `show` receives progress lines."""
        self.folder, self.tracker, self._show = folder, tracker, show
        self.log = SweepLog(folder)
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Duration of all sessions of the sweep."""
        return self.log.seconds + time.monotonic() - self._began

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Records a trial whose process starts, at first or again."""
        known = trial.config["id"] in self.log.trials
        record = self._record(trial)
        record.status = RUNNING
        if not known:
            self._show(f"trial {record.number} begins: {describe_draw(record.drawn)}")
        self._save()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Records an evaluation, or the final result."""
        record = self._record(trial)
        evaluations = len(record.history)
        record.update(result)
        if result.get("ended"):
            record.status = FINISHED
        self._save()
        if record.status != FINISHED and len(record.history) > evaluations:
            self._mark(record, rung=str(record.step))
            self._show(f"trial {record.number} step {record.step}: average {record.average:.2f}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Records a trial that finished or that ASHA stopped."""
        record = self._record(trial)
        if record.status != FINISHED:
            record.status = STOPPED
        self._mark(record, rung=str(record.step), status=record.status)
        score = "without a score" if record.average is None else f"average {record.average:.2f}"
        finished = self.log.with_status(FINISHED)
        best = "none finished yet"
        if finished:
            best = f"best {finished[0].average:.2f} of trial {finished[0].number}"
        ended = len(self.log.trials) - len(self.log.with_status(RUNNING))
        text = f"trial {record.number} {record.status} at step {record.step}: {score}"
        self._show(f"{text}; {ended} trials ended, {best}")
        self._save()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Records a failure after which the trial is retried."""
        record = self._record(trial)
        record.error = _last_line(trial.error_file)
        self._save()
        self._show(f"trial {record.number} failed ({record.error}): retrying from its last checkpoint")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Records a failure after the last retry."""
        record = self._record(trial)
        record.status, record.error = FAILED, _last_line(trial.error_file)
        self._mark(record, status=FAILED, error=record.error)
        self._show(f"trial {record.number} failed and is not retried: {record.error}")
        self._save()

    def stop_running(self) -> None:
        """Marks unfinished trials as stopped: `sweep.max_hours` is over, or the settings have changed."""
        for record in self.log.with_status(RUNNING):
            record.status = STOPPED
        self._save()

    def mark_all(self) -> None:
        """Sets the MLflow state of every trial again: a stopped trial's process may have set it after the monitor."""
        for record in self.log.trials.values():
            self._mark(record, rung=str(record.step), status=record.status)

    def _record(self, trial: Any) -> TrialRecord:
        return self.log.record(trial.config["id"], trial.config["drawn"])

    def _save(self) -> None:
        self.log.save(self.seconds)
        if finished := self.log.with_status(FINISHED):
            best = finished[0].average or 0.0
            values = {"sweep/best_average": best, "sweep/trials_finished": float(len(finished))}
            self.tracker.log_metrics(values, len(finished))
        self.tracker.flush()

    def _mark(self, record: TrialRecord, **tags: str) -> None:
        """Sets tags of the trial's MLflow run, and with `status` the run's state."""
        path = self.folder / TRIALS / record.id / RUN_ID
        if not path.is_file():
            return
        run_id = path.read_text().strip()
        try:
            with request_limits(4):
                client = MlflowClient(self.tracker.tracking_uri)
                for name, value in tags.items():
                    client.set_tag(run_id, name, shorten(value, TAG_LENGTH))
                if "status" in tags:
                    client.set_terminated(run_id, MLFLOW_STATUS[tags["status"]])
        except Exception as error:  # any error of the client: the sweep continues
            logger.warning("MLflow: trial %s was not marked %s (%s)", record.number, tags, first_line(error))


def _last_line(error_file: str | None) -> str:
    """Returns the last line of a trial's error file."""
    path = Path(error_file or "")
    lines = path.read_text(errors="replace").split("\n") if path.is_file() else []
    return next((shorten(line.strip(), 300) for line in reversed(lines) if line.strip()), "no reason given")
