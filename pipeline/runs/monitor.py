"""Follows a run's records: progress for a person, curves for MLflow. One process does this, the driver."""

import threading
import time
from collections.abc import Callable, Sequence
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


class RunMonitor:
    """Reads chunks as they appear; each is told once, also when a resumed run writes it again."""

    def __init__(
        self,
        run_dir: str | Path,
        tasks: Sequence[str],
        max_steps: int,
        tracker: Tracker,
        show: Callable[[str], None],
        *,
        from_step: int = 0,
        store: CheckpointStore | None = None,
        scored: OnScores | None = None,
    ) -> None:
        """`show` takes a line of progress; chunks up to `from_step` were shown by an earlier run.

        `store` is looked at for scores that come while training goes on; `scored` takes those of each evaluation
        that this run makes itself.
        MLflow gets those too: the earlier run may have ended before it sent them, and the tracker logs
        nothing twice.
        """
        self._run_dir = run_dir
        self._tasks = list(tasks)
        self._max_steps = max_steps
        self._tracker = tracker
        self._show = show
        self._told = 0
        self._began = time.monotonic()
        self._from_step = from_step
        self._store = store
        self._hear_scores = scored
        self._rows_trained = 0
        self._looked = time.monotonic()
        self._scored: set[str] = set()
        self._events_told = len(read_events(run_dir))
        self._stop = threading.Event()
        self._one_at_a_time = threading.Lock()  # a run in this process polls too, beside the thread
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)

    def __enter__(self) -> "RunMonitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.poll()
        self._looked = 0.0  # late scores too
        self.poll()

    def poll(self) -> None:
        """Tell what is new."""
        with self._one_at_a_time:
            for text in read_events(self._run_dir)[self._events_told :]:
                self._show(text)
                self._events_told += 1
            self._tell()
            if self._store is not None and time.monotonic() - self._looked > SCORES_SECONDS:
                self._looked = time.monotonic()
                self._tell_scores(self._store)

    def _tell_scores(self, store: CheckpointStore) -> None:
        """Scores of checkpoints that were evaluated while training went on; they may come late, but in order."""
        for name, found in sorted(store.late_scores().items()):
            if name in self._scored:
                continue
            self._scored.add(name)
            if found["scores"] is None:
                self._show(f"checkpoint {name} could not be evaluated")
                continue
            for key, value in scores_as_metrics(found["scores"]).items():
                self._tracker.log_metrics({key: value}, step_of(name))
            self._show(_evaluated(step_of(name), found["scores"]))
        self._tracker.flush()

    def _tell(self) -> None:
        for chunk in list_chunks(self._run_dir):
            if int(chunk.name) <= self._told:
                continue
            try:
                summary, mix = read_summary(chunk), pq.read_table(chunk / "mix.parquet")
            except FileNotFoundError:  # a restarted run is replacing it just now
                return
            self._told = summary["last_step"]
            self._rows_trained += summary["rows_trained"]
            for name, value in metrics_of(summary, mix, self._tasks).items():
                self._tracker.log_metrics({name: value}, self._told)
            self._tracker.flush()
            if self._told > self._from_step:
                for line in self._lines(summary, mix):
                    self._show(line)
                if summary["scores"] and self._hear_scores is not None:
                    self._hear_scores(self._told, summary["scores"]["average"], self._rows_trained)

    def _lines(self, summary: dict[str, Any], mix: pa.Table) -> list[str]:
        step = summary["last_step"]
        done = step - self._from_step
        left = (self._max_steps - step) * (time.monotonic() - self._began) / done
        trained = dict(zip(self._tasks, by_task(mix, "trained", self._tasks).sum(0), strict=True))
        total = max(1.0, sum(trained.values()))
        shares = " ".join(f"{task} {100 * rows / total:.0f}%" for task, rows in trained.items())
        lines = [
            f"step {step}/{self._max_steps}  loss {_loss(summary):.3f}  "
            f"{summary['rows_trained'] / summary['seconds']:.0f} rows/s  "
            f"waiting {100 * summary['seconds_waited'] / summary['seconds']:.1f}%  left {_minutes(left)}  | {shares}"
        ]
        if summary["scores"]:
            lines.append(_evaluated(step, summary["scores"]))
        return lines


def metrics_of(summary: dict[str, Any], mix: pa.Table, tasks: Sequence[str]) -> dict[str, float]:
    """MLflow's metrics of a chunk: means over its steps, and the scores of its evaluation."""
    metrics = {
        "train/loss": _loss(summary),
        "perf/rows_per_second": summary["rows_trained"] / summary["seconds"],
        "perf/data_wait_fraction": summary["seconds_waited"] / summary["seconds"],
        "perf/padding_fraction": 1 - summary["tokens_real"] / summary["tokens_computed"],
    }
    trained = by_task(mix, "trained", tasks).sum(0)
    weight, uncertainty = by_task(mix, "weight", tasks), by_task(mix, "mean_uncertainty", tasks)
    for place, task in enumerate(tasks):
        metrics[f"sampler/weight/{task}"] = float(weight[:, place].mean())
        metrics[f"sampler/trained_share/{task}"] = float(trained[place] / max(1.0, trained.sum()))
        measured = uncertainty[np.isfinite(uncertainty[:, place]), place]
        if len(measured):
            metrics[f"sampler/uncertainty/{task}"] = float(measured.mean())
        if summary["loss_rows"][place]:
            metrics[f"train/loss/{task}"] = summary["loss_sums"][place] / summary["loss_rows"][place]
    return metrics | (scores_as_metrics(summary["scores"]) if summary["scores"] else {})


def scores_as_metrics(scores: dict[str, Any]) -> dict[str, float]:
    """MLflow's metrics of an evaluation."""
    metrics = {
        f"eval/{task}/{name}": value
        for task, found in scores["tasks"].items()
        for name, value in found.items()
    }
    return {**metrics, "eval/average": scores["average"]}


def by_task(mix: pa.Table, column: str, tasks: Sequence[str]) -> np.ndarray:
    """A column of `mix.parquet` as [steps, T]."""
    values: np.ndarray = mix[column].to_numpy().astype(np.float64).reshape(-1, len(tasks))
    return values


def _evaluated(step: int, scores: dict[str, Any]) -> str:
    values = "  ".join(
        f"{task} {np.mean(list(found.values())):.1f}" for task, found in scores["tasks"].items()
    )
    return f"evaluated at step {step}: average {scores['average']:.2f}  | {values}"


def _loss(summary: dict[str, Any]) -> float:
    means = [
        total / rows for total, rows in zip(summary["loss_sums"], summary["loss_rows"], strict=True) if rows
    ]
    return float(np.mean(means))


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
