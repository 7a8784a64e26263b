"""Following a run: each chunk is told once, to a person and to MLflow, under the names that others rely on."""

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.runs import monitor as follow
from pipeline.runs.monitor import RunMonitor
from pipeline.runs.records import Records, write_chunk

TASKS = ("a", "b")
SCORES = {"average": 61.5, "tasks": {"a": {"accuracy": 70.0}, "b": {"f1": 50.0, "accuracy": 56.0}}}


class Told:
    """Stands in for a `Tracker`: remembers what it is told."""

    def __init__(self) -> None:
        self.metrics: list[tuple[int, str, float]] = []
        self.flushed = 0

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.metrics += [(step, name, value) for name, value in metrics.items()]

    def flush(self) -> bool:
        self.flushed += 1
        return True

    def at(self, step: int) -> dict[str, float]:
        return {name: value for at, name, value in self.metrics if at == step}


def make_records(
    first: int, last: int, *, resumed_at: int = 0, scores: dict[str, Any] | None = None
) -> Records:
    steps = np.arange(first, last + 1)
    count = len(steps)
    return Records(
        resumed_at=resumed_at,
        first_step=first,
        last_step=last,
        seconds=1.0,
        rows=dict.fromkeys(("step", "rank", "row_id"), steps) | {"task": steps * 0},
        mix={
            "step": np.repeat(steps, 2),
            "task": np.tile([0, 1], count),
            "weight": np.tile([0.25, 0.75], count),
            "mean_uncertainty": np.tile([0.5, np.nan], count),
            "candidates": np.tile([4, 12], count),
            "trained": np.tile([6, 2], count),
        },
        summary={
            "seconds": 2.0,
            "seconds_waited": 0.5,
            "tokens_computed": 400,
            "tokens_real": 300,
            "rows_scored": 16 * count,
            "rows_trained": 8 * count,
            "loss_sums": [12.0, 0.0],
            "loss_rows": [6, 0],
            "scores": scores,
        },
    )


def follower(folder: Path, told: Told, lines: list[str], **options: Any) -> RunMonitor:
    return RunMonitor(folder, TASKS, 10, told, lines.append, **options)  # type: ignore[arg-type]


def test_metrics_have_the_names_that_the_design_gives_them(tmp_path: Path) -> None:
    told, lines = Told(), list[str]()
    write_chunk(tmp_path, [make_records(1, 3, scores=SCORES)], TASKS)
    follower(tmp_path, told, lines).poll()
    assert told.at(3) == pytest.approx(
        {
            "train/loss": 2.0,
            "train/loss/a": 2.0,
            "sampler/weight/a": 0.25,
            "sampler/weight/b": 0.75,
            "sampler/uncertainty/a": 0.5,
            "sampler/trained_share/a": 0.75,
            "sampler/trained_share/b": 0.25,
            "perf/rows_per_second": 12.0,
            "perf/data_wait_fraction": 0.25,
            "perf/padding_fraction": 0.25,
            "eval/a/accuracy": 70.0,
            "eval/b/f1": 50.0,
            "eval/b/accuracy": 56.0,
            "eval/average": 61.5,
        }
    )
    assert told.flushed == 1


def test_a_person_sees_step_loss_speed_shares_time_left_and_scores(tmp_path: Path) -> None:
    told, lines = Told(), list[str]()
    write_chunk(tmp_path, [make_records(1, 5, scores=SCORES)], TASKS)
    follower(tmp_path, told, lines).poll()
    assert lines[0].startswith("step 5/10  loss 2.000  20 rows/s  waiting 25.0%  left 0:0")
    assert lines[0].endswith("| a 75% b 25%")
    assert lines[1] == "evaluated at step 5: average 61.50  | a 70.0  b 53.0"


def test_each_chunk_is_told_once_also_when_it_is_replayed(tmp_path: Path) -> None:
    told, lines = Told(), list[str]()
    following = follower(tmp_path, told, lines)
    write_chunk(tmp_path, [make_records(1, 3)], TASKS)
    following.poll()
    following.poll()
    write_chunk(tmp_path, [make_records(4, 6)], TASKS)
    following.poll()
    write_chunk(tmp_path, [make_records(4, 6, resumed_at=3)], TASKS)  # workers went back to step 3
    write_chunk(tmp_path, [make_records(7, 8, resumed_at=3)], TASKS)
    following.poll()
    assert [line.split()[1] for line in lines] == ["3/10", "6/10", "8/10"]
    assert len(told.metrics) == len({(step, name) for step, name, _ in told.metrics})


def test_two_who_poll_at_once_tell_a_chunk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in this process polls after every chunk, and the follower's own thread does too."""
    told, lines, read = Told(), list[str](), follow.read_summary

    def slowly(chunk: Path) -> dict[str, Any]:
        time.sleep(0.05)
        return read(chunk)

    monkeypatch.setattr(follow, "read_summary", slowly)
    following = follower(tmp_path, told, lines)
    write_chunk(tmp_path, [make_records(1, 3)], TASKS)
    threads = [threading.Thread(target=following.poll) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines) == 1


def test_what_an_earlier_run_told_is_not_told_again(tmp_path: Path) -> None:
    told, lines = Told(), list[str]()
    for first, last in ((1, 3), (4, 6), (7, 8)):
        write_chunk(tmp_path, [make_records(first, last)], TASKS)
    follower(tmp_path, told, lines, from_step=6).poll()
    assert [line.split()[1] for line in lines] == ["8/10"]


def test_a_chunk_that_is_just_being_replaced_is_told_later(tmp_path: Path) -> None:
    told, lines = Told(), list[str]()
    following = follower(tmp_path, told, lines)
    write_chunk(tmp_path, [make_records(1, 3)], TASKS)
    [chunk] = (tmp_path / "records").iterdir()
    (chunk / "mix.parquet").rename(tmp_path / "aside")
    following.poll()
    assert lines == []
    shutil.move(tmp_path / "aside", chunk / "mix.parquet")
    following.poll()
    assert len(lines) == 1


def test_the_thread_tells_what_is_there_before_it_ends(tmp_path: Path) -> None:
    told, lines = Told(), list[str]()
    with follower(tmp_path, told, lines):
        write_chunk(tmp_path, [make_records(1, 10)], TASKS)
    assert len(lines) == 1
