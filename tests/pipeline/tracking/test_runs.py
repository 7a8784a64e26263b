"""MLflow runs are opened on a real server and in real SQLite files, or refused in one line."""

import pathlib
import socket
import time

import pytest
from mlflow import MlflowClient

from pipeline.tracking import server as tracking_server
from pipeline.tracking import texts as tracking_texts
from pipeline.tracking.runs import resume_run, start_run
from pipeline.tracking.tracker import Tracker
from tests.mlflow_server import MlflowServer


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
    assert len(parameters["long.text"]) == tracking_texts.PARAMETER_LENGTH
    assert parameters["long.text"].endswith("… (20000 characters)")


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
    uri = f"sqlite:///{tmp_path / 'records' / 'mlflow.db'}"
    tracker = Tracker(uri, start_run(uri, "tests", "run", {}, {}))
    tracker.log_artifact(str(tmp_path / "results.json"))
    assert tracker.finish("FINISHED")
    assert len(list((tmp_path / "records" / "mlartifacts").rglob("results.json"))) == 1
    assert not list((tmp_path / "elsewhere").iterdir())


def test_continue_run_sets_a_run_running_again(mlflow_server: MlflowServer) -> None:
    run_id = start_run(mlflow_server.uri, "tests", "a run", {}, {})
    Tracker(mlflow_server.uri, run_id).finish("FAILED")
    client = MlflowClient(mlflow_server.uri)
    assert client.get_run(run_id).info.status == "FAILED"
    resume_run(mlflow_server.uri, run_id)
    assert client.get_run(run_id).info.status == "RUNNING"
    with pytest.raises(ValueError, match="was started with"):
        resume_run(mlflow_server.uri, "0" * 32)
