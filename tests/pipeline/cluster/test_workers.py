"""What happens to checkpoints and records on their way to storage reaches the run's events."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cluster.reports import Reporter, saved_in_folder
from pipeline.cluster.workers import Follow
from pipeline.runs.checkpoints import retry as patience
from pipeline.runs.checkpoints.retry import retry_io
from pipeline.runs.checkpoints.store import CheckpointStore
from pipeline.runs.directory import RunPaths
from pipeline.runs.events import read_events
from pipeline.runs.mirror import Mirror
from pipeline.runs.records import Records, list_chunks


def no_room(folder: Path) -> None:
    (folder / "model").write_bytes(b"half")
    raise OSError("No space left on device")


def test_a_checkpoint_without_room_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told: list[str] = []
    assert saved_in_folder(no_room, told.append, must=False) is None
    assert told == [f"checkpoint left out: {tmp_path} cannot be written (No space left on device)"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="the last checkpoint cannot be written"):
        saved_in_folder(no_room, told.append, must=True)


def test_records_wait_for_two_seconds_of_training_or_for_a_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[dict[str, Any]] = []
    monkeypatch.setattr("ray.train.report", lambda metrics, **_: reported.append(metrics))
    reporter = Reporter(last_step=9)

    def hand_over(step: int, metrics: dict[str, Any] | None = None) -> None:
        reporter(Records(0, step, step, 0.7, {}), None, metrics)

    for step in (1, 2, 3, 4):
        hand_over(step)
    assert [[part.last_step for part in found["records"]] for found in reported] == [[1, 2, 3]]
    hand_over(5, {"step": 5})
    assert [part.last_step for part in reported[1]["records"]] == [4, 5]
    assert reported[2] == {"step": 5, "notes": []}
    hand_over(6)
    assert len(reported) == 3


def test_what_a_rank_tells_with_a_report_is_among_the_events(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path, CheckpointStore(str(tmp_path / "checkpoints")), None)
    follow = Follow(paths, ["a"], keep=2)
    follow.after_report(None, [{"step": 4, "notes": ["checkpoint left out: full"]}, {"step": 4}], None)
    assert read_events(tmp_path) == ["checkpoint left out: full"]


class Away:
    """Storage that comes back at the third try."""

    def __init__(self) -> None:
        self.tries = 0

    def __call__(self) -> str:
        self.tries += 1
        if self.tries < 3:
            raise OSError("connection refused")
        return "stored"


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runs.checkpoints.retry.time.sleep", lambda seconds: None)


def test_what_storage_takes_at_the_third_try_is_told_to_be_late(no_pauses: None) -> None:
    told: list[str] = []
    assert retry_io(Away(), "storing checkpoint 4", told.append) == "stored"
    assert told == ["storing checkpoint 4 was 0 s late: connection refused"]


def test_patience_ends_and_says_what_to_mend(no_pauses: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    with pytest.raises(
        ValueError, match=r"^storing checkpoint 4 has failed for 0 s \(connection refused\): mend"
    ):
        retry_io(Away(), "storing checkpoint 4", print)


def test_a_copy_of_the_records_that_fails_is_made_later(
    tmp_path: Path, no_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, away, put = tmp_path / "run", Away(), Mirror.put_records
    run_dir.mkdir()

    def put_when_back(mirror: Mirror, folder: Path) -> None:
        away()
        put(mirror, folder)

    monkeypatch.setattr(Mirror, "put_records", put_when_back)
    mirror = Mirror(str(tmp_path / "bucket"))
    follow = Follow(RunPaths(run_dir, CheckpointStore(str(tmp_path / "checkpoints")), mirror), ["a"], keep=2)
    column = np.array([1])
    rows = {"step": column, "rank": 0 * column, "task": 0 * column, "row_id": column}
    records = Records(0, 1, 1, 0.1, rows, mix={"step": column, "task": 0 * column}, summary={})
    follow.after_report(None, [{"records": [records]}], None)
    assert [chunk.name for chunk in list_chunks(run_dir)] == ["000000001"]
    assert [chunk.name for chunk in list_chunks(tmp_path / "bucket")] == ["000000001"]
    (told,) = read_events(run_dir)
    assert told == "copying the records of step 1 was 0 s late: connection refused"
