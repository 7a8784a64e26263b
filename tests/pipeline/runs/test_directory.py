"""Run directories that cannot be created or resumed are refused, and an earlier run is not touched then."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.runs import directory
from pipeline.runs.directory import create_or_resume_run, validate_run
from tests.pipeline.small_run import make_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a file, a run, a group of runs and the copy of a run in storage."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for run, config in (("runs/old", "run: {}"), ("runs/group", "run: {seeds: [1, 2]}")):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / ".mlflow_run_id").touch()
        (tmp_path / run / "config.yaml").write_text(config)
    for path in ("runs/blocked", "storage/run/checkpoints", "storage/blocked/run"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "storage" / "blocked" / "run" / ".mlflow_run_id").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("run", "cluster", "message"),
    [
        ({"output_dir": "file/runs"}, {}, r"run\.output_dir file/runs cannot be written \(Not a directory\)"),
        ({"name": "old"}, {}, "run directory .*/runs/old exists: continue it with --run.resume"),
        ({"resume": "runs/run"}, {}, r"run\.resume: .*/runs/run is not a run directory"),
        ({"name": "group", "resume": "runs/group"}, {}, r"is a group of runs: give its --run\.seeds \[1, 2"),
        ({"name": "blocked", "resume": "storage/blocked"}, {}, "choose another --run.output_dir"),
        ({}, {"storage_path": "storage"}, r"already holds a run 'run', .*--run\.overwrite true"),
        ({}, {"storage_path": "nosuch://bucket"}, r"storage nosuch://bucket/run cannot be reached"),
        ({"name": "old", "overwrite": True, "tracking_uri": "http://127.0.0.1:1"}, {}, "http://127.0.0.1:1"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "+".join(value),
)
def test_a_run_that_cannot_be_created_or_resumed_is_refused(
    folder: Path, run: dict[str, Any], cluster: dict[str, Any], message: str
) -> None:
    settings = make_settings(folder, "", run=run, cluster=cluster)
    for refuse in (validate_run, create_or_resume_run):
        with pytest.raises(ValueError, match=message) as caught:
            refuse(settings)
        assert "\n" not in str(caught.value)
    assert (folder / "runs" / "old" / ".mlflow_run_id").exists()


def test_an_overwritten_run_loses_its_checkpoints_in_storage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "start_run", lambda *_: "an id")
    settings = make_settings(folder, "", run={"overwrite": True}, cluster={"storage_path": "storage"})
    run_dir, run_id = create_or_resume_run(settings)
    assert (run_dir / ".mlflow_run_id").read_text() == run_id + "\n"
    stored = [path.relative_to(folder).as_posix() for path in (folder / "storage/run").rglob("*")]
    assert sorted(stored) == [f"storage/run/run{name}" for name in ("", "/.mlflow_run_id", "/config.yaml")]
