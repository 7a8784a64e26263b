"""What happens to a checkpoint on its way to storage reaches the run's events."""

from pathlib import Path

import pytest

from pipeline import events
from pipeline.checkpoint_store import CheckpointStore
from pipeline.ray_workers import Follow, _saved
from pipeline.run_directory import Places


def no_room(folder: Path) -> None:
    (folder / "model").write_bytes(b"half")
    raise OSError("No space left on device")


def test_a_checkpoint_without_room_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told: list[str] = []
    assert _saved(no_room, told.append, must=False) is None
    assert told == [f"checkpoint left out: {tmp_path} cannot be written (No space left on device)"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="the last checkpoint cannot be written"):
        _saved(no_room, told.append, must=True)


def test_what_a_rank_tells_with_a_report_is_among_the_events(tmp_path: Path) -> None:
    places = Places(tmp_path, CheckpointStore(str(tmp_path / "checkpoints")), None)
    follow = Follow(places, ["a"], keep=2)
    follow.after_report(None, [{"step": 4, "notes": ["checkpoint left out: full"]}, {"step": 4}], None)
    assert events.read(tmp_path) == ["checkpoint left out: full"]
