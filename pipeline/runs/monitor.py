"""Reads a run's records while it trains: progress lines for the user, curves for MLflow. Runs in the driver only."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runs.checkpoints.store import CheckpointStore, step_of
from pipeline.runs.events import read_events
from pipeline.runs.records import list_chunks, read_summary
from pipeline.tracking.tracker import Tracker

POLL_SECONDS = 0.5
SCORES_SECONDS = 5.0
OnScores = Callable[[int, float, int], None]  # step, average, rows trained so far


@dataclass
class RunMonitor:
    """Shows and logs every chunk of records once, even if a resumed run writes it again; a context manager.

    Attributes:
        tasks: the run's tasks, in the order of their ids.
        tracker: receives the metrics of all chunks, also those up to `from_step`, which an earlier run may not have
            sent. The tracker ignores steps that MLflow has.
        from_step: last step that an earlier run has shown.
        store: polled for scores of asynchronous evaluations.
        on_scores: receives the scores of inline evaluations after `from_step`.
    """

    run_dir: str | Path
    tasks: Sequence[str]
    max_steps: int
    tracker: Tracker
    show: Callable[[str], None]
    from_step: int = 0
    store: CheckpointStore | None = None
    on_scores: OnScores | None = None

    def __post_init__(self) -> None:
        self._started = self._scores_read = time.monotonic()
        self._logged_step = self._rows_trained = 0
        self._scored: set[str] = set()
        self._events_shown = len(read_events(self.run_dir))
        self._stop = threading.Event()
        self._lock = threading.Lock()  # a run in this process polls beside the thread
        self._thread = threading.Thread(target=self._poll_until_stopped, name="follow", daemon=True)

    def __enter__(self) -> "RunMonitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _poll_until_stopped(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.poll()
        self._scores_read = 0.0  # the last poll reads late scores too
        self.poll()

    def poll(self) -> None:
        """Shows and logs what is new."""
        with self._lock:
            for text in read_events(self.run_dir)[self._events_shown :]:
                self.show(text)
                self._events_shown += 1
            self._log_chunks()
            if self.store is not None and time.monotonic() - self._scores_read > SCORES_SECONDS:
                self._scores_read = time.monotonic()
                self._log_late_scores(self.store)

    def _log_late_scores(self, store: CheckpointStore) -> None:
        """Logs scores of asynchronous evaluations; they may come late, but in the order of steps."""
        for name, late in sorted(store.late_scores().items()):
            if name in self._scored:
                continue
            self._scored.add(name)
            if late["scores"] is None:
                self.show(f"checkpoint {name} could not be evaluated")
                continue
            self.tracker.log_metrics(scores_as_metrics(late["scores"]), step_of(name))
            self.show(_format_scores(step_of(name), late["scores"]))
        self.tracker.flush()

    def _log_chunks(self) -> None:
        for chunk in list_chunks(self.run_dir):
            if int(chunk.name) <= self._logged_step:
                continue
            try:
                summary, mix = read_summary(chunk), pq.read_table(chunk / "mix.parquet")
            except FileNotFoundError:  # a resumed run is replacing the chunk
                return
            step = self._logged_step = summary["last_step"]
            self._rows_trained += summary["rows_trained"]
            metrics = metrics_of(summary, mix, self.tasks)
            self.tracker.log_metrics(metrics, step)
            self.tracker.flush()
            if step > self.from_step:
                self.show(self._format_progress(step, metrics))
                if scores := summary["scores"]:
                    self.show(_format_scores(step, scores))
                    if self.on_scores is not None:
                        self.on_scores(step, scores["average"], self._rows_trained)

    def _format_progress(self, step: int, metrics: dict[str, float]) -> str:
        elapsed = time.monotonic() - self._started
        left = int((self.max_steps - step) * elapsed / (step - self.from_step))
        shares = " ".join(f"{task} {metrics[f'sampler/trained_share/{task}']:.0%}" for task in self.tasks)
        return (
            f"step {step}/{self.max_steps}  loss {metrics['train/loss']:.3f}  "
            f"{metrics['perf/rows_per_second']:.0f} rows/s  waiting {metrics['perf/data_wait_fraction']:.1%}  "
            f"left {left // 60}:{left % 60:02d}  | {shares}"
        )


def metrics_of(summary: dict[str, Any], mix: pa.Table, tasks: Sequence[str]) -> dict[str, float]:
    """MLflow's metrics of a chunk: means over its steps, and the scores of its evaluation."""
    losses = zip(summary["loss_sums"], summary["loss_rows"], strict=True)
    metrics = {
        "train/loss": float(np.mean([total / rows for total, rows in losses if rows])),  # mean over tasks
        "perf/rows_per_second": summary["rows_trained"] / summary["seconds"],
        "perf/data_wait_fraction": summary["seconds_waited"] / summary["seconds"],
        "perf/padding_fraction": 1 - summary["tokens_real"] / summary["tokens_computed"],
    }
    weights, uncertainties, trained = (  # [steps, T]
        mix[column].to_numpy().astype(np.float64).reshape(-1, len(tasks))
        for column in ("weight", "mean_uncertainty", "trained")
    )
    for index, task in enumerate(tasks):
        metrics[f"sampler/weight/{task}"] = float(weights[:, index].mean())
        metrics[f"sampler/trained_share/{task}"] = float(trained[:, index].sum() / max(1.0, trained.sum()))
        uncertainty = uncertainties[np.isfinite(uncertainties[:, index]), index]
        if len(uncertainty):
            metrics[f"sampler/uncertainty/{task}"] = float(uncertainty.mean())
        if rows := summary["loss_rows"][index]:
            metrics[f"train/loss/{task}"] = summary["loss_sums"][index] / rows
    return metrics | (scores_as_metrics(summary["scores"]) if summary["scores"] else {})


def scores_as_metrics(scores: dict[str, Any]) -> dict[str, float]:
    """MLflow's metrics of an evaluation."""
    tasks = scores["tasks"].items()
    metrics = {f"eval/{task}/{name}": value for task, values in tasks for name, value in values.items()}
    return {**metrics, "eval/average": scores["average"]}


def _format_scores(step: int, scores: dict[str, Any]) -> str:
    tasks = scores["tasks"].items()
    means = "  ".join(f"{task} {np.mean(list(values.values())):.1f}" for task, values in tasks)
    return f"evaluated at step {step}: average {scores['average']:.2f}  | {means}"
