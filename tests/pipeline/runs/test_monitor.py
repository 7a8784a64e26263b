"""The monitor shows and logs each chunk, event and late score once."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from pipeline.runs import monitor as monitor_module
from pipeline.runs.checkpoints.store import CheckpointStore, checkpoint_name
from pipeline.runs.events import log_event
from pipeline.runs.monitor import RunMonitor
from pipeline.runs.records import write_chunk
from tests.pipeline.runs.chunks import TASKS, make_records

SCORES = {"average": 61.5, "tasks": {"a": {"accuracy": 70.0}, "b": {"f1": 50.0, "accuracy": 56.0}}}
SCORE_METRICS = {"eval/a/accuracy": 70.0, "eval/b/f1": 50.0, "eval/b/accuracy": 56.0, "eval/average": 61.5}


class Watched:
    """A run directory with a monitor and what it has shown and logged."""

    def __init__(self, run_dir: Path, **options: Any) -> None:
        self.run_dir, self.lines, self.tracker = run_dir, list[str](), Mock()
        self.monitor = RunMonitor(run_dir, TASKS, 10, self.tracker, self.lines.append, **options)

    def write(self, first: int, last: int, **options: Any) -> None:
        write_chunk(self.run_dir, [make_records(first, last, **options)], TASKS)

    @property
    def metrics(self) -> list[tuple[int, str, float]]:
        logged = [call.args for call in self.tracker.log_metrics.call_args_list]
        return [(step, name, value) for metrics, step in logged for name, value in metrics.items()]


def test_a_chunk_becomes_metrics_of_the_promised_names_and_progress_lines(tmp_path: Path) -> None:
    evaluations: list[tuple[int, float, int]] = []
    run = Watched(tmp_path, on_scores=lambda *scores: evaluations.append(scores))
    run.write(1, 5, scores=SCORES)
    run.monitor.poll()
    assert {step for step, _, _ in run.metrics} == {5}
    assert {name: value for _, name, value in run.metrics} == pytest.approx(
        {
            "train/loss": 2.0,
            "train/loss/a": 2.0,
            "sampler/weight/a": 0.25,
            "sampler/weight/b": 0.75,
            "sampler/uncertainty/a": 0.5,
            "sampler/trained_share/a": 0.75,
            "sampler/trained_share/b": 0.25,
            "perf/rows_per_second": 20.0,
            "perf/data_wait_fraction": 0.25,
            "perf/padding_fraction": 0.25,
            **SCORE_METRICS,
        }
    )
    run.tracker.flush.assert_called_once()
    assert run.lines[0].startswith("step 5/10  loss 2.000  20 rows/s  waiting 25.0%  left 0:0")
    assert run.lines[0].endswith("| a 75% b 25%")
    assert run.lines[1] == "evaluated at step 5: average 61.50  | a 70.0  b 53.0"
    assert evaluations == [(5, 61.5, 40)]


def test_each_chunk_is_shown_once_even_if_a_resumed_run_writes_it_again(tmp_path: Path) -> None:
    run = Watched(tmp_path)
    run.write(1, 3)
    run.monitor.poll()
    run.monitor.poll()
    run.write(4, 6)
    run.monitor.poll()
    run.write(4, 6, resumed_at=3)
    run.write(7, 8, resumed_at=3)
    run.monitor.poll()
    assert [line.split()[1] for line in run.lines] == ["3/10", "6/10", "8/10"]
    assert len(run.metrics) == len({(step, name) for step, name, _ in run.metrics})
    resumed = Watched(tmp_path, from_step=6)
    resumed.monitor.poll()
    assert [line.split()[1] for line in resumed.lines] == ["8/10"]


def test_events_and_late_scores_are_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "SCORES_SECONDS", -1.0)
    log_event(tmp_path, "of an earlier run")
    store = CheckpointStore(str(tmp_path / "checkpoints"))
    run = Watched(tmp_path, store=store)
    log_event(tmp_path, "a worker was lost")
    failed = checkpoint_name(2)
    store.put_scores(failed, {"scores": None})
    store.put_scores(checkpoint_name(4), {"scores": SCORES})
    run.monitor.poll()
    run.monitor.poll()
    assert run.lines == [
        "a worker was lost",
        f"checkpoint {failed} could not be evaluated",
        "evaluated at step 4: average 61.50  | a 70.0  b 53.0",
    ]
    assert {name: value for step, name, value in run.metrics if step == 4} == SCORE_METRICS


def test_threads_that_poll_at_once_show_each_chunk_once_and_the_last_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = monitor_module.read_summary

    def read_slowly(chunk: Path) -> dict[str, Any]:
        time.sleep(0.05)
        return read(chunk)

    monkeypatch.setattr(monitor_module, "read_summary", read_slowly)
    run = Watched(tmp_path)
    run.write(1, 3)
    with run.monitor:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: run.monitor.poll(), range(4)))
        assert len(run.lines) == 1
        run.write(4, 10)
    assert len(run.lines) == 2


def test_a_chunk_that_is_being_replaced_is_shown_later(tmp_path: Path) -> None:
    run = Watched(tmp_path)
    run.write(1, 3)
    [chunk] = (tmp_path / "records").iterdir()
    (chunk / "mix.parquet").rename(tmp_path / "aside")
    run.monitor.poll()
    assert run.lines == []
    shutil.move(tmp_path / "aside", chunk / "mix.parquet")
    run.monitor.poll()
    assert len(run.lines) == 1
