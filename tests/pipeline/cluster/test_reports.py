"""Records and checkpoints reach the run directory and storage; what delays them is an event of the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cluster.reports import ControllerCallback, Reporter, save_locally
from pipeline.runs.checkpoints import retry
from pipeline.runs.checkpoints.store import CheckpointStore
from pipeline.runs.directory import RunPaths
from pipeline.runs.events import read_events
from pipeline.runs.mirror import Mirror
from pipeline.runs.records import Records, list_chunks


def test_without_disk_space_only_the_last_checkpoint_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(folder: Path) -> None:
        (folder / "model").write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    notes: list[str] = []
    assert save_locally(save, notes.append, required=False) is None
    assert notes == [f"checkpoint left out: {tmp_path} cannot be written (No space left on device)"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="the last checkpoint cannot be written"):
        save_locally(save, notes.append, required=True)


def test_records_wait_for_two_seconds_of_training_or_for_a_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr("ray.train.report", lambda metrics, **_: reports.append(metrics))
    reporter = Reporter(last_step=9)
    for step in (1, 2, 3, 4):
        reporter(Records(0, step, step, 0.7, {}), None, None)
    assert [[part.last_step for part in report["records"]] for report in reports] == [[1, 2, 3]]
    reporter(Records(0, 5, 5, 0.7, {}), None, {"step": 5})
    assert [part.last_step for part in reports[1]["records"]] == [4, 5]
    assert reports[2] == {"step": 5, "notes": []}
    reporter(Records(0, 6, 6, 0.7, {}), None, None)
    assert len(reports) == 3


def fail_twice(action: Callable[..., Any]) -> Callable[..., Any]:
    """Storage that is back at the third attempt."""
    errors = [OSError("connection refused")] * 2

    def run(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return action(*arguments)

    return run


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: None)


def test_storage_that_stays_away_ends_the_run(no_pauses: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PATIENCE", 0.0)
    with pytest.raises(
        ValueError, match=r"^storing checkpoint 4 has failed for 0 s \(connection refused\): "
    ):
        retry.retry_io(fail_twice(lambda: None), "storing checkpoint 4", print)


def test_the_callback_logs_notes_and_copies_records_when_storage_is_back(
    tmp_path: Path, no_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    monkeypatch.setattr(Mirror, "put_records", fail_twice(Mirror.put_records))
    store = CheckpointStore(str(tmp_path / "checkpoints"))
    callback = ControllerCallback(RunPaths(run_dir, store, Mirror(str(tmp_path / "bucket"))), ["a"], keep=2)
    column = np.array([1])
    rows = {"step": column, "rank": 0 * column, "task": 0 * column, "row_id": column}
    records = Records(0, 1, 1, 0.1, rows, mix={"step": column, "task": 0 * column}, summary={})
    callback.after_report(None, [{"records": [records]}], None)
    callback.after_report(None, [{"step": 4, "notes": ["checkpoint left out: full"]}, {"step": 4}], None)
    assert [chunk.name for chunk in list_chunks(run_dir)] == ["000000001"]
    assert [chunk.name for chunk in list_chunks(tmp_path / "bucket")] == ["000000001"]
    assert read_events(run_dir) == [
        "copying the records of step 1 was 0 s late: connection refused",
        "checkpoint left out: full",
    ]
