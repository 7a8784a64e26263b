"""Metrics and files reach a real server once each, through failures of the server."""

import logging
import math
import pathlib
import pickle
import re
import socket
import time
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.serving.pyfunc import save_pyfunc
from pipeline.tracking import tracker as tracking
from pipeline.tracking.runs import start_run
from pipeline.tracking.tracker import Tracker
from tests.mlflow_server import MlflowServer


@pytest.fixture
def tracker(mlflow_server: MlflowServer) -> Tracker:
    return Tracker(mlflow_server.uri, start_run(mlflow_server.uri, "tests", "a run", {}, {}))


def history(tracker: Tracker, key: str) -> list[tuple[int, float]]:
    points = MlflowClient(tracker.tracking_uri).get_metric_history(tracker.run_id, key)
    return sorted((point.step, point.value) for point in points)


def test_finite_values_arrive_once_each_more_than_one_request_takes_and_forbidden_names_too(
    tracker: Tracker,
) -> None:
    for step, value in enumerate((0.5, math.nan, math.inf, -math.inf, 0.25)):
        tracker.log_metrics({"sampler/uncertainty/what?": value}, step)
    for step in range(1, 301):
        tracker.log_metrics({f"train/loss/task_{task}": step + task / 10 for task in range(4)}, step)
    assert tracker.flush()
    for task in range(4):
        points = [(step, step + task / 10) for step in range(1, 301)]
        assert history(tracker, f"train/loss/task_{task}") == points
    assert history(tracker, "sampler/uncertainty/what_") == [(0, 0.5), (4, 0.25)]


def test_a_replayed_step_is_logged_once(tracker: Tracker) -> None:
    for step in (1, 2, 3, 2, 3, 4):  # workers resumed from the checkpoint of step 1
        tracker.log_metrics({"train/loss": 1 / step}, step)
    tracker.log_metrics({"eval/average": 60.0}, 4)
    tracker.flush()
    tracker.log_metrics({"train/loss": 9.0}, 4)
    tracker.flush()
    resumed = Tracker(tracker.tracking_uri, tracker.run_id)  # another process, without the first one's state
    for step in (3, 4, 5):
        resumed.log_metrics({"train/loss": 1 / step, "train/loss/rte": 1.0}, step)
    resumed.flush()
    resumed.log_metrics({"eval/average": 61.0}, 4)
    resumed.flush()
    assert history(tracker, "train/loss") == [(step, 1 / step) for step in range(1, 6)]
    assert history(tracker, "train/loss/rte") == [(3, 1.0), (4, 1.0), (5, 1.0)]
    assert history(tracker, "eval/average") == [(4, 60.0)]


def test_a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    mlflow_server: MlflowServer,
    tracker: Tracker,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.1)
    (tmp_path / "results.json").write_text("{}")
    caplog.set_level(logging.WARNING)
    try:
        for step in range(1, 21):
            if step == 11:
                mlflow_server.stop()
            if step == 15:
                tracker.log_artifact(str(tmp_path / "results.json"))
            tracker.log_metrics({"train/loss": 1 / step, "sampler/weight/rte": step / 100}, step)
            started = time.monotonic()
            assert tracker.flush() == (step < 11)
            assert time.monotonic() - started < 6  # MLflow's own limit is minutes
        assert len(caplog.records) == 1
        assert mlflow_server.uri in caplog.text
        reasons = r"\((Connection refused|Connection reset by peer|Remote end closed[^)]*)\);"
        assert re.search(reasons, caplog.text)
    finally:
        mlflow_server.stop()
        mlflow_server.start()
    assert tracker.finish("FINISHED")
    assert history(tracker, "train/loss") == [(step, 1 / step) for step in range(1, 21)]
    assert history(tracker, "sampler/weight/rte") == [(step, step / 100) for step in range(1, 21)]
    client = MlflowClient(mlflow_server.uri)
    assert [file.path for file in client.list_artifacts(tracker.run_id)] == ["results.json"]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


def test_a_batch_whose_answer_was_lost_is_not_doubled(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)

    class LosingClient(MlflowClient):
        def log_batch(self, *arguments: Any, **options: Any) -> None:
            super().log_batch(*arguments, **options)
            raise ConnectionError("the connection was closed before the answer")

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "MlflowClient", LosingClient)
        tracker.log_metrics({"train/loss": 1.0}, 1)
        assert not tracker.flush()
    assert history(tracker, "train/loss") == [(1, 1.0)]  # it arrived
    tracker.log_metrics({"train/loss": 2.0}, 2)
    assert tracker.flush()
    assert history(tracker, "train/loss") == [(1, 1.0), (2, 2.0)]


def test_after_a_failure_flushes_wait_before_they_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "FLUSH_TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracker = Tracker(f"http://127.0.0.1:{silent.getsockname()[1]}", "a run")
        tracker.log_metrics({"train/loss": 1.0}, 1)
        started = time.monotonic()
        for _ in range(100):
            assert not tracker.flush()
    assert time.monotonic() - started < 10  # a hundred tries would take a hundred seconds


def test_finish_gives_up_on_a_server_that_stays_down(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracking, "SHORT_LAST_WAIT", 0.2)
    tracker = Tracker("http://me:secret@127.0.0.1:1", "a run")
    tracker.log_metrics({"train/loss": 1.0}, 1)
    assert not tracker.finish("FAILED")
    assert "1 metric values and 0 files were not sent" in caplog.text
    assert "secret" not in caplog.text


def test_an_upload_that_always_fails_blocks_no_other(
    tracker: Tracker, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "LAST_WAIT", 1.5)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").symlink_to(tmp_path / "missing")
    (tmp_path / "results.json").write_text("{}")
    tracker.log_model(str(tmp_path / "model"), ["rte"], save_pyfunc)
    tracker.log_artifact(str(tmp_path / "results.json"))
    assert not tracker.finish("FINISHED")
    client = MlflowClient(tracker.tracking_uri)
    assert [file.path for file in client.list_artifacts(tracker.run_id)] == ["results.json"]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


def test_a_pickled_tracker_keeps_its_buffers_and_prints_no_password(
    tracker: Tracker, capfd: pytest.CaptureFixture[str]
) -> None:
    with_password = Tracker(tracker.tracking_uri.replace("://", "://me:secret@"), tracker.run_id)
    with_password.log_metrics({"train/loss": 1.0}, 1)
    assert pickle.loads(pickle.dumps(with_password)).finish("FINISHED")
    assert history(tracker, "train/loss") == [(1, 1.0)]
    assert capfd.readouterr() == ("", "")


def test_missing_files_and_folders_are_named() -> None:
    tracker = Tracker("sqlite:///mlflow.db", "run")
    with pytest.raises(FileNotFoundError, match=r"none/mix\.png"):
        tracker.log_artifact("none/mix.png")
    with pytest.raises(FileNotFoundError, match="none/model"):
        tracker.log_model("none/model", ["rte"], save_pyfunc)
