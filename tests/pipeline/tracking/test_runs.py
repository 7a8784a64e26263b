"""MLflow runs are created and resumed on a real server and in SQLite files, or refused in one line."""

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

WRITABLE = r"set run\.tracking_uri to a writable file"


def test_nested_settings_become_flat_parameters_many_and_long_ones_too(mlflow_server: MlflowServer) -> None:
    settings = {
        "run": {"name": "first", "seed": 3},
        "data": {"tasks": ["cola", "rte"], "max_train_rows": None},
        "many": {f"field_{index}": index for index in range(230)},
        "long": {"text": "x" * 20_000},
    }
    tags = {"kind": "test", "long": "y" * 20_000}
    run_id = start_run(mlflow_server.uri, "parameters", "first", settings, tags)
    run = MlflowClient(mlflow_server.uri).get_run(run_id)
    text = run.data.params.pop("long.text")
    assert len(text) == tracking_texts.PARAMETER_LENGTH
    assert text.endswith("… (20000 characters)")
    assert run.data.params == {
        "run.name": "first",
        "run.seed": "3",
        "data.tasks": '["cola", "rte"]',
        "data.max_train_rows": "None",
        **{f"many.field_{index}": str(index) for index in range(230)},
    }
    assert run.data.tags["kind"] == "test"
    assert (run.info.run_name, run.info.status) == ("first", "RUNNING")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://me:secret@127.0.0.1:1", r"http://\*\*\*@127.0.0.1:1 .*\(Connection refused\): start the"),
        ("postgresql://me:secret@127.0.0.1:1/mlflow", r"postgresql://\*\*\*@127.0.0.1:1/mlflow .*refused"),
        ("sqlite:///{folder}/file/mlflow.db", rf"/file/mlflow\.db .* {WRITABLE}"),
        ("sqlite:///{folder}", rf"MLflow at sqlite:////.* {WRITABLE}"),
        ("sqlite:///{folder}/file", rf"/file .* {WRITABLE}"),
        ("sqlite:////proc/missing/mlflow.db", rf"/proc/missing/mlflow\.db .* {WRITABLE}"),
    ],
    ids=["server down", "database down", "below a file", "folder", "no database", "read-only folder"],
)
def test_an_unusable_server_or_database_is_refused_within_seconds(
    tmp_path: pathlib.Path, uri: str, message: str
) -> None:
    (tmp_path / "file").write_text("no database, and no folder\n" * 100)
    started = time.monotonic()
    with pytest.raises(ValueError, match=message) as error:
        start_run(uri.format(folder=tmp_path), "tests", "run", {}, {})
    assert time.monotonic() - started < 10
    assert "cannot be used" in str(error.value)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_that_hangs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking_server, "START_TIMEOUT", 1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ValueError, match="no answer in time"),
    ):
        start_run(f"http://127.0.0.1:{silent.getsockname()[1]}", "tests", "run", {}, {})


def test_a_deleted_experiment_is_refused(mlflow_server: MlflowServer) -> None:
    client = MlflowClient(mlflow_server.uri)
    client.delete_experiment(client.create_experiment("deleted"))
    with pytest.raises(ValueError, match=r"'deleted' was deleted.*restore"):
        start_run(mlflow_server.uri, "deleted", "run", {}, {})


def test_sqlite_keeps_artifacts_beside_the_database(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "results.json").write_text("{}")
    uri = f"sqlite:///{tmp_path / 'records' / 'mlflow.db'}"
    tracker = Tracker(uri, start_run(uri, "tests", "run", {}, {}))
    tracker.log_artifact(str(tmp_path / "results.json"))
    assert tracker.finish("FINISHED")
    assert len(list((tmp_path / "records" / "mlartifacts").rglob("results.json"))) == 1
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_resumed_run_is_running_again(mlflow_server: MlflowServer) -> None:
    run_id = start_run(mlflow_server.uri, "tests", "a run", {}, {})
    Tracker(mlflow_server.uri, run_id).finish("FAILED")
    client = MlflowClient(mlflow_server.uri)
    assert client.get_run(run_id).info.status == "FAILED"
    resume_run(mlflow_server.uri, run_id)
    assert client.get_run(run_id).info.status == "RUNNING"
    with pytest.raises(ValueError, match="with which the run was started"):
        resume_run(mlflow_server.uri, "0" * 32)
