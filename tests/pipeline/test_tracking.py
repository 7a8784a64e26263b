"""MLflow runs against a real server and real SQLite files."""

import logging
import math
import pathlib
import pickle
import re
import socket
import time

import pytest
from mlflow import MlflowClient

from pipeline import tracking, tracking_server
from pipeline.tracking import Tracker, continue_run, flatten, start_run
from tests.mlflow_server import AnswerLosingProxy, MlflowServer


def history(uri: str, run_id: str, key: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in MlflowClient(uri).get_metric_history(run_id, key))


def sqlite_uri(folder: pathlib.Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture
def run_id(mlflow_server: MlflowServer) -> str:
    return start_run(mlflow_server.uri, "tests", "a run", {}, {})


def test_start_run_logs_nested_settings_as_flat_parameters(mlflow_server: MlflowServer) -> None:
    settings = {
        "run": {"name": "first", "seed": 3},
        "data": {"tasks": ["cola", "rte"], "max_train_rows": None},
    }
    run_id = start_run(mlflow_server.uri, "parameters", "first", settings, {"kind": "test"})
    run = MlflowClient(mlflow_server.uri).get_run(run_id)
    assert run.data.params == {
        "run.name": "first",
        "run.seed": "3",
        "data.tasks": '["cola", "rte"]',
        "data.max_train_rows": "None",
    }
    assert run.data.tags["kind"] == "test"
    assert run.info.run_name == "first"
    assert run.info.status == "RUNNING"


def test_start_run_takes_many_and_long_parameters(mlflow_server: MlflowServer) -> None:
    settings = {"many": {f"field_{index}": index for index in range(230)}, "long": {"text": "x" * 20_000}}
    run_id = start_run(mlflow_server.uri, "parameters", "long", settings, {"tag": "y" * 20_000})
    parameters = MlflowClient(mlflow_server.uri).get_run(run_id).data.params
    assert len(parameters) == 231
    assert len(parameters["long.text"]) == tracking.PARAMETER_LENGTH
    assert parameters["long.text"].endswith("… (20000 characters)")


def test_a_password_in_a_uri_is_not_logged() -> None:
    flat = flatten({"run": {"tracking_uri": "https://me:secret@host/mlflow", "other": ["http://a:b@c"]}})
    assert flat == {"run.tracking_uri": "https://***@host/mlflow", "run.other": '["http://***@c"]'}


def test_start_run_refuses_a_server_that_is_down() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(ValueError, match="cannot be used") as error:
        start_run(f"http://me:secret@127.0.0.1:{port}", "tests", "run", {}, {})
    assert time.monotonic() - started < 10
    message = str(error.value)
    assert f"http://***@127.0.0.1:{port}" in message
    assert "Connection refused" in message
    assert "start the server" in message
    assert "secret" not in message
    assert "\n" not in message


def test_start_run_refuses_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking_server, "START_TIMEOUT", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ValueError, match="no answer in time"):
            start_run(f"http://127.0.0.1:{silent.getsockname()[1]}", "tests", "run", {}, {})


def test_start_run_refuses_a_database_server_that_is_down() -> None:
    with pytest.raises(
        ValueError, match=r"postgresql://\*\*\*@127.0.0.1:1/mlflow cannot be used \(Connection refused"
    ):
        start_run("postgresql://me:secret@127.0.0.1:1/mlflow", "tests", "run", {}, {})


@pytest.mark.parametrize("place", ["file/mlflow.db", "folder", "file", "missing"])
def test_start_run_refuses_an_sqlite_path_it_cannot_write(tmp_path: pathlib.Path, place: str) -> None:
    (tmp_path / "file").write_text("no database, and no folder\n" * 100)
    (tmp_path / "folder").mkdir()
    path = "/proc/missing/mlflow.db" if place == "missing" else tmp_path / place
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"run\.tracking_uri") as error:
        start_run(f"sqlite:///{path}", "tests", "run", {}, {})
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert time.monotonic() - started < 10


def test_start_run_refuses_a_deleted_experiment(mlflow_server: MlflowServer) -> None:
    client = MlflowClient(mlflow_server.uri)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(ValueError, match=r"'gone' was deleted.*restore"):
        start_run(mlflow_server.uri, "gone", "run", {}, {})


def test_sqlite_keeps_artifacts_beside_the_database(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "records").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "results.json").write_text("{}")
    uri = sqlite_uri(tmp_path / "records")
    tracker = Tracker(uri, start_run(uri, "tests", "run", {}, {}))
    tracker.log_artifact(str(tmp_path / "results.json"))
    assert tracker.finish("FINISHED")
    assert len(list((tmp_path / "records" / "mlartifacts").rglob("results.json"))) == 1
    assert not list((tmp_path / "elsewhere").iterdir())


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
    tracker.log_model(str(tmp_path / "model"), ["rte"])
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


def test_continue_run_sets_a_run_running_again(mlflow_server: MlflowServer, run_id: str) -> None:
    Tracker(mlflow_server.uri, run_id).finish("FAILED")
    client = MlflowClient(mlflow_server.uri)
    assert client.get_run(run_id).info.status == "FAILED"
    continue_run(mlflow_server.uri, run_id)
    assert client.get_run(run_id).info.status == "RUNNING"
    with pytest.raises(ValueError, match="was started with"):
        continue_run(mlflow_server.uri, "0" * 32)


def test_log_artifact_and_log_model_name_what_is_missing(tmp_path: pathlib.Path) -> None:
    tracker = Tracker(sqlite_uri(tmp_path), "run")
    with pytest.raises(FileNotFoundError, match=r"mix\.png"):
        tracker.log_artifact(str(tmp_path / "mix.png"))
    with pytest.raises(FileNotFoundError, match="model"):
        tracker.log_model(str(tmp_path / "model"), ["rte"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pool: (Caused by NewConnectionError('[Errno 111] Connection refused'))", "Connection refused"),
        (
            "pool: (Caused by ProtocolError('Connection aborted.', ConnectionResetError(104, 'reset by peer')))",
            "reset by peer",
        ),
        ("pool: Read timed out. (read timeout=4)", "no answer in time"),
        ("no user\nname p@ss at http://me:p%40ss@host", "no user"),
        ("login me:p@ss at http://me:p%40ss@host failed", "login me:*** at http://***@host failed"),
    ],
)
def test_reasons_are_short_and_hide_the_password(text: str, reason: str) -> None:
    assert tracking_server.reason_of(OSError(text), "http://me:p%40ss@host") == reason
