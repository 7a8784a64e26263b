"""What is logged to a run, through failures, on a real server."""

import logging
import math
import pathlib
import pickle
import re
import time

import pytest
from mlflow import MlflowClient

from pipeline.serving.pyfunc import save_pyfunc
from pipeline.tracking import tracker as tracking
from pipeline.tracking.runs import start_run
from pipeline.tracking.tracker import Tracker
from tests.mlflow_server import AnswerLosingProxy, MlflowServer


def history(uri: str, run_id: str, key: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in MlflowClient(uri).get_metric_history(run_id, key))


@pytest.fixture
def run_id(mlflow_server: MlflowServer) -> str:
    return start_run(mlflow_server.uri, "tests", "a run", {}, {})


def test_metrics_arrive_once_each_in_more_than_one_batch(mlflow_server: MlflowServer, run_id: str) -> None:
    tracker = Tracker(mlflow_server.uri, run_id)
    for step in range(1, 301):
        tracker.log_metrics({f"train/loss/task_{task}": step + task / 10 for task in range(8)}, step)
    assert tracker.flush()
    for task in range(8):
        points = history(mlflow_server.uri, run_id, f"train/loss/task_{task}")
        assert points == [(step, step + task / 10) for step in range(1, 301)]


def test_a_replayed_step_is_logged_once(mlflow_server: MlflowServer, run_id: str) -> None:
    first = Tracker(mlflow_server.uri, run_id)
    for step in (1, 2, 3, 2, 3, 4):  # workers went back to the checkpoint of step 1
        first.log_metrics({"train/loss": 1 / step}, step)
    first.log_metrics({"eval/average": 60.0}, 4)
    first.flush()
    first.log_metrics({"train/loss": 9.0}, 4)
    first.flush()
    resumed = Tracker(mlflow_server.uri, run_id)  # another process, which knows nothing of the first
    for step in (3, 4, 5):
        resumed.log_metrics({"train/loss": 1 / step, "train/loss/rte": 1.0}, step)
    resumed.flush()
    resumed.log_metrics({"eval/average": 61.0}, 4)
    resumed.flush()
    assert history(mlflow_server.uri, run_id, "train/loss") == [(step, 1 / step) for step in range(1, 6)]
    assert history(mlflow_server.uri, run_id, "train/loss/rte") == [(3, 1.0), (4, 1.0), (5, 1.0)]
    assert history(mlflow_server.uri, run_id, "eval/average") == [(4, 60.0)]


def test_values_that_are_not_finite_are_left_out(mlflow_server: MlflowServer, run_id: str) -> None:
    tracker = Tracker(mlflow_server.uri, run_id)
    for step, value in enumerate((0.5, math.nan, math.inf, -math.inf, 0.25)):
        tracker.log_metrics({"sampler/uncertainty/rte": value}, step)
    assert tracker.flush()
    assert history(mlflow_server.uri, run_id, "sampler/uncertainty/rte") == [(0, 0.5), (4, 0.25)]


def test_a_name_that_mlflow_forbids_does_not_hold_up_the_others(
    mlflow_server: MlflowServer, run_id: str
) -> None:
    tracker = Tracker(mlflow_server.uri, run_id)
    tracker.log_metrics({"train/loss": 1.0, "train/loss/what?": 2.0}, 1)
    assert tracker.flush()
    assert history(mlflow_server.uri, run_id, "train/loss/what_") == [(1, 2.0)]


def test_a_server_that_goes_away_and_comes_back_loses_and_doubles_nothing(
    mlflow_server: MlflowServer, run_id: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker(mlflow_server.uri, run_id, retry_seconds=0.1)
    (tmp_path / "results.json").write_text("{}")
    slowest = 0.0
    caplog.set_level(logging.WARNING)
    try:
        for step in range(1, 31):
            if step == 11:
                mlflow_server.stop()
            if step == 15:
                tracker.log_artifact(str(tmp_path / "results.json"), "records")
            tracker.log_metrics({"train/loss": 1 / step, "sampler/weight/rte": step / 100}, step)
            started = time.monotonic()
            sent = tracker.flush()
            slowest = max(slowest, time.monotonic() - started)
            assert sent == (step < 11)
        assert slowest < 6  # left to itself, MLflow tries for minutes
        assert len(caplog.records) == 1
        assert mlflow_server.uri in caplog.text
        assert re.search(
            r"\((Connection refused|Connection reset by peer|Remote end closed[^)]*)\);", caplog.text
        )
    finally:
        mlflow_server.stop()
        mlflow_server.start()
    assert tracker.finish("FINISHED")
    assert history(mlflow_server.uri, run_id, "train/loss") == [(step, 1 / step) for step in range(1, 31)]
    assert history(mlflow_server.uri, run_id, "sampler/weight/rte") == [
        (step, step / 100) for step in range(1, 31)
    ]
    client = MlflowClient(mlflow_server.uri)
    assert [file.path for file in client.list_artifacts(run_id, "records")] == ["records/results.json"]
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_batch_whose_answer_was_lost_is_not_doubled(mlflow_server: MlflowServer, run_id: str) -> None:
    proxy = AnswerLosingProxy(mlflow_server)
    tracker = Tracker(proxy.uri, run_id, retry_seconds=0.0)
    tracker.log_metrics({"train/loss": 1.0}, 1)
    assert tracker.flush()
    proxy.loses_answers = True
    tracker.log_metrics({"train/loss": 2.0}, 2)
    assert not tracker.flush()
    assert history(mlflow_server.uri, run_id, "train/loss") == [(1, 1.0), (2, 2.0)]  # it did arrive
    proxy.loses_answers = False
    tracker.log_metrics({"train/loss": 3.0}, 3)
    assert tracker.flush()
    assert history(mlflow_server.uri, run_id, "train/loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    proxy.close()


def test_after_a_failure_flushes_wait_before_they_try_again(
    mlflow_server: MlflowServer, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "FLUSH_TIMEOUT", 1)
    tracker = Tracker(mlflow_server.uri, run_id, retry_seconds=60.0)
    tracker.log_metrics({"train/loss": 1.0}, 1)
    mlflow_server.pause()
    try:
        tracker.flush()
        started = time.monotonic()
        for _ in range(100):
            assert not tracker.flush()
        assert time.monotonic() - started < 10  # a hundred tries would take a hundred seconds
    finally:
        mlflow_server.resume()


def test_finish_gives_up_on_a_server_that_stays_away(run_id: str, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Tracker("http://me:secret@127.0.0.1:1", run_id)
    tracker.log_metrics({"train/loss": 1.0}, 1)
    assert not tracker.finish("FAILED", patience=0.2)
    assert "1 metric values and 0 files did not reach it" in caplog.text
    assert "secret" not in caplog.text


def test_an_upload_that_always_fails_holds_nothing_else_up(
    mlflow_server: MlflowServer, run_id: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").symlink_to(tmp_path / "gone")
    (tmp_path / "results.json").write_text("{}")
    tracker = Tracker(mlflow_server.uri, run_id)
    tracker.log_model(str(tmp_path / "model"), ["rte"], save_pyfunc)
    tracker.log_artifact(str(tmp_path / "results.json"))
    assert not tracker.finish("FINISHED", patience=1.5)
    client = MlflowClient(mlflow_server.uri)
    assert [file.path for file in client.list_artifacts(run_id)] == ["results.json"]
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_password_is_never_printed(
    mlflow_server: MlflowServer, run_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker(mlflow_server.uri.replace("://", "://me:secret@"), run_id)
    tracker.log_metrics({"train/loss": 1.0}, 1)
    assert tracker.finish("FINISHED")
    assert capfd.readouterr() == ("", "")


def test_a_tracker_travels_to_another_process_with_what_it_holds(
    mlflow_server: MlflowServer, run_id: str
) -> None:
    tracker = Tracker(mlflow_server.uri, run_id)
    tracker.log_metrics({"train/loss": 1.0}, 1)
    assert pickle.loads(pickle.dumps(tracker)).finish("FINISHED")
    assert history(mlflow_server.uri, run_id, "train/loss") == [(1, 1.0)]


def test_log_artifact_and_log_model_name_what_is_missing(tmp_path: pathlib.Path) -> None:
    tracker = Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", "run")
    with pytest.raises(FileNotFoundError, match=r"mix\.png"):
        tracker.log_artifact(str(tmp_path / "mix.png"))
    with pytest.raises(FileNotFoundError, match="model"):
        tracker.log_model(str(tmp_path / "model"), ["rte"], save_pyfunc)
