"""Where checkpoints lie: only whole ones are found, damaged ones are passed over, the best is never lost."""

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.runs.checkpoints.checkpoint import MANIFEST, NOT_EVALUATED, DamagedCheckpointError, seal, verify
from pipeline.runs.checkpoints.storage import join_path, last_part
from pipeline.runs.checkpoints.store import CheckpointStore, StoredCheckpoint, checkpoint_name, step_of

WEIGHTS = "model/weights.bin"


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(str(tmp_path / "checkpoints"))


def add(
    store: CheckpointStore, step: int, average: float = NOT_EVALUATED, **metrics: Any
) -> StoredCheckpoint:
    name = checkpoint_name(step)
    with store.create(name, "attempt-001") as folder:
        (folder / "model").mkdir()
        (folder / WEIGHTS).write_bytes(bytes([step % 256]) * 1000)
        seal(folder, {"step": step, "average": average, **metrics})
    return next(stored for stored in store.checkpoints() if stored.name == name)


def steps(store: CheckpointStore) -> list[int]:
    return [stored.step for stored in store.checkpoints()]


def test_what_was_added_is_found_by_step_with_what_was_reported(store: CheckpointStore) -> None:
    assert store.checkpoints() == []
    assert store.best() is None
    for step, average in ((200, 50.0), (100, 60.0), (1_000_000_000, 40.0)):
        add(store, step, average, freeze="none")
    assert steps(store) == [100, 200, 1_000_000_000]
    best = store.best()
    assert best is not None
    assert (best.step, best.average, best.metrics["freeze"]) == (100, 60.0, "none")
    assert step_of(best.name) == 100


def test_of_equal_averages_the_earliest_is_the_best(store: CheckpointStore) -> None:
    add(store, 200, 50.0)
    add(store, 100, 50.0)
    assert getattr(store.best(), "step", None) == 100


def test_what_was_not_finished_is_no_checkpoint(store: CheckpointStore) -> None:
    add(store, 100)
    with contextlib.suppress(KeyboardInterrupt), store.create(checkpoint_name(200), "attempt-001") as folder:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt
    missing, short, unsealed = (add(store, step) for step in (300, 400, 500))
    Path(missing.path, WEIGHTS).unlink()
    Path(short.path, WEIGHTS).write_bytes(b"x")
    Path(unsealed.path, MANIFEST).unlink()
    assert steps(store) == [100]
    assert not list(Path(store.root).rglob(".writing-*"))


@pytest.mark.parametrize("content", ["", "{}", '{"metrics": {"step": 3}', "[]"])
def test_a_manifest_that_cannot_be_read_is_none(store: CheckpointStore, content: str) -> None:
    add(store, 100)
    Path(add(store, 200).path, MANIFEST).write_text(content)
    assert steps(store) == [100]


def cut(path: Path) -> None:
    path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("damage", "file"),
    [(Path.unlink, WEIGHTS), (cut, WEIGHTS), (cut, MANIFEST)],
    ids=["gone", "cut", "manifest"],
)
def test_damage_that_is_seen_at_a_glance_is_told_too(
    store: CheckpointStore, damage: Callable[[Path], None], file: str
) -> None:
    add(store, 100)
    damaged = add(store, 200)
    damage(Path(damaged.path, file))
    told: list[str] = []
    assert getattr(store.newest_intact(500, told.append), "step", None) == 100
    assert len(told) == 1
    assert damaged.name in told[0]
    assert file in told[0]


def test_the_newest_sound_checkpoint_is_gone_on_from_and_damage_is_named(store: CheckpointStore) -> None:
    add(store, 100)
    damaged = add(store, 200)
    Path(damaged.path, WEIGHTS).write_bytes(b"\0" * 1000)  # as long as it was
    assert steps(store) == [100, 200]
    told: list[str] = []
    assert getattr(store.newest_intact(500, told.append), "step", None) == 100
    assert len(told) == 1
    assert damaged.name in told[0]
    assert WEIGHTS in told[0]
    with pytest.raises(DamagedCheckpointError, match="SHA-256"), store.open_verified(damaged):
        pass


def test_later_checkpoints_than_the_records_are_left_alone(store: CheckpointStore) -> None:
    for step in (100, 200, 300):
        add(store, step)
    told: list[str] = []
    assert [
        getattr(store.newest_intact(up_to, told.append), "step", None) for up_to in (99, 100, 299, 300)
    ] == [
        None,
        100,
        200,
        300,
    ]
    assert told == []


def test_the_last_the_best_and_those_that_wait_for_scores_are_kept(store: CheckpointStore) -> None:
    add(store, 100, 70.0)
    add(store, 200, 60.0)
    waiting = add(store, 300, to_evaluate=True)
    for step in (400, 500, 600):
        add(store, step)
    store.prune(2)
    assert steps(store) == [100, 300, 500, 600]
    store.put_scores(waiting.name, {"average": 10.0, "scores": {"average": 10.0, "tasks": {}}})
    store.prune(2)
    assert steps(store) == [100, 500, 600]


def test_damaged_checkpoints_go_once_a_newer_one_is_stored(store: CheckpointStore) -> None:
    emptied, short, whole, later = (add(store, step) for step in (100, 200, 300, 400))
    Path(emptied.path, MANIFEST).write_bytes(b"")
    Path(short.path, WEIGHTS).write_bytes(b"x")
    Path(later.path, WEIGHTS).write_bytes(b"x")  # as one looks that is just being copied
    store.prune(2)
    store.prune(2, later.name)  # a damaged one clears nothing
    assert all(Path(stored.path).is_dir() for stored in (emptied, short, whole, later))
    store.prune(2, whole.name)
    left = [Path(stored.path).is_dir() for stored in (emptied, short, whole, later)]
    assert left == [False, False, True, True]


def test_scores_that_come_late_and_out_of_order_decide_the_best(store: CheckpointStore) -> None:
    early, late = add(store, 100, to_evaluate=True), add(store, 200, to_evaluate=True)
    assert store.best() is None
    store.put_scores(late.name, {"average": 40.0, "scores": {"average": 40.0, "tasks": {}}})
    assert getattr(store.best(), "step", None) == 200
    store.put_scores(early.name, {"average": 41.0, "scores": {"average": 41.0, "tasks": {}}})
    assert getattr(store.best(), "step", None) == 100
    assert set(store.late_scores()) == {early.name, late.name}


def test_an_evaluation_that_failed_is_waited_for_no_longer(store: CheckpointStore) -> None:
    failed = add(store, 100, to_evaluate=True)
    store.put_scores(failed.name, {"average": NOT_EVALUATED, "scores": None, "to_evaluate": False})
    add(store, 200)
    store.prune(1)
    assert steps(store) == [200]


def test_every_attempt_has_a_folder_and_clears_what_others_left_half_written(store: CheckpointStore) -> None:
    assert store.new_attempt() == "attempt-001"
    add(store, 100)
    half = Path(add(store, 200).path)
    (half / MANIFEST).unlink()
    writing = half.with_name(".writing-" + half.name)
    writing.mkdir()
    assert store.new_attempt() == "attempt-002"
    store.clear_fragments("attempt-001")  # it is being written just now
    assert half.exists()
    store.clear_fragments("attempt-002")
    assert not half.exists()
    assert not writing.exists()
    assert steps(store) == [100]


def test_a_damaged_checkpoint_stays_to_be_told_of(store: CheckpointStore) -> None:
    add(store, 100)
    damaged = add(store, 200)
    Path(damaged.path, WEIGHTS).write_bytes(b"x")
    store.clear_fragments(store.new_attempt())
    told: list[str] = []
    assert getattr(store.newest_intact(500, told.append), "step", None) == 100
    assert damaged.name in told[0]


def test_a_sealed_folder_tells_what_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    with pytest.raises(DamagedCheckpointError, match=MANIFEST):
        verify(tmp_path)
    seal(tmp_path, {"step": 1})
    verify(tmp_path)
    (tmp_path / "a").write_text("cont")
    with pytest.raises(DamagedCheckpointError, match="a has 4 of 7 bytes"):
        verify(tmp_path)
    (tmp_path / "a").unlink()
    with pytest.raises(DamagedCheckpointError, match="a is missing"):
        verify(tmp_path)


def test_a_store_travels_to_other_processes(store: CheckpointStore) -> None:
    add(store, 100)
    assert steps(pickle.loads(pickle.dumps(store))) == [100]


@pytest.mark.parametrize(
    ("place", "part", "expected"),
    [
        ("/runs", "a", "/runs/a"),
        ("/runs/", "a", "/runs/a"),
        ("/odd?name", "a", "/odd?name/a"),
        ("s3://bucket/runs", "a", "s3://bucket/runs/a"),
        ("s3://bucket/runs?scheme=http", "a", "s3://bucket/runs/a?scheme=http"),
    ],
)
def test_a_folder_below_a_path_or_address(place: str, part: str, expected: str) -> None:
    assert join_path(place, part) == expected
    assert last_part(expected) == part
