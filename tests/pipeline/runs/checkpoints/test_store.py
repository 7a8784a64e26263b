"""Only complete checkpoints are found, damaged ones are skipped with a message, the best one is never lost."""

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
    store: CheckpointStore,
    step: int,
    average: float = NOT_EVALUATED,
    attempt: str = "attempt-001",
    **metrics: Any,
) -> StoredCheckpoint:
    name = checkpoint_name(step)
    with store.create(name, attempt) as folder:
        (folder / "model").mkdir()
        (folder / WEIGHTS).write_bytes(bytes([step % 256]) * 1000)
        seal(folder, {"step": step, "average": average, **metrics})
    return next(stored for stored in store.checkpoints() if stored.name == name)


def steps(store: CheckpointStore) -> list[int]:
    return [stored.step for stored in store.checkpoints()]


def newest_intact(store: CheckpointStore, up_to: int = 500) -> tuple[int | None, list[str]]:
    """Its step, and the warnings about those that were skipped."""
    warnings: list[str] = []
    stored = store.newest_intact(up_to, warnings.append)
    return stored.step if stored else None, warnings


def truncate(path: Path) -> None:
    path.write_bytes(b"x")


def overwrite(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def test_checkpoints_are_listed_and_resumed_by_step_with_the_reported_metrics(store: CheckpointStore) -> None:
    assert (store.checkpoints(), store.best()) == ([], None)
    for step, average in ((200, 60.0), (100, 60.0), (1_000_000_000, 40.0)):
        add(store, step, average, freeze="none")
    assert steps(store) == steps(pickle.loads(pickle.dumps(store))) == [100, 200, 1_000_000_000]
    best = store.best()
    assert best is not None
    assert (best.step, best.average, best.metrics["freeze"]) == (100, 60.0, "none")  # of equals the earliest
    assert step_of(best.name) == 100
    for last_record, resumed in ((99, None), (100, 100), (999_999_999, 200), (1_000_000_000, 1_000_000_000)):
        assert newest_intact(store, last_record) == (resumed, [])


def test_a_repeated_step_replaces_a_damaged_best_checkpoint(store: CheckpointStore) -> None:
    overwrite(Path(add(store, 100, 60.0).path, WEIGHTS))  # of the same size, so that listing shows no damage
    again = add(store, 100, 60.0, "attempt-002")
    newest = add(store, 200, 50.0, "attempt-002")
    store.prune(1, newest.name)
    assert store.checkpoints() == [again, newest]
    assert store.best() == again


def test_an_unfinished_checkpoint_is_not_listed(store: CheckpointStore) -> None:
    add(store, 100)
    with contextlib.suppress(KeyboardInterrupt), store.create(checkpoint_name(200), "attempt-001") as folder:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt
    unsealed = Path(add(store, 300).path)
    (unsealed / MANIFEST).unlink()
    assert steps(store) == [100]
    with pytest.raises(DamagedCheckpointError, match=MANIFEST):
        verify(unsealed)
    assert not list(Path(store.root).rglob(".writing-*"))


@pytest.mark.parametrize(
    ("damage", "file", "listed"),
    [
        (Path.unlink, WEIGHTS, False),
        (truncate, WEIGHTS, False),
        (overwrite, WEIGHTS, True),
        *((lambda path, text=text: path.write_text(text), MANIFEST, False) for text in ("", "{}", "[]", "{")),
    ],
    ids=["missing", "truncated", "changed", "empty manifest", "no entries", "a list", "half a manifest"],
)
def test_a_damaged_checkpoint_is_skipped_with_its_file_named(
    store: CheckpointStore, damage: Callable[[Path], None], file: str, listed: bool
) -> None:
    add(store, 100)
    damaged = add(store, 200)
    damage(Path(damaged.path, file))
    assert steps(store) == [100, 200][: 1 + listed]
    store.clear_fragments(store.new_attempt())  # keeps it, so that the damage is reported
    step, [warning] = newest_intact(store)
    assert step == 100
    assert f"checkpoint {damaged.name} is damaged" in warning
    assert file in warning
    with pytest.raises(DamagedCheckpointError, match=file), store.open_verified(damaged):
        pass


def test_pruning_keeps_the_last_the_best_and_those_that_await_scores(store: CheckpointStore) -> None:
    for step, average in ((100, 70.0), (200, 60.0)):
        add(store, step, average)
    waiting = add(store, 300, to_evaluate=True)
    failed = add(store, 350, to_evaluate=True)
    for step in (400, 500, 600):
        add(store, step)
    store.put_scores(failed.name, {"average": NOT_EVALUATED, "scores": None, "to_evaluate": False})
    store.prune(2)
    assert steps(store) == [100, 300, 500, 600]
    store.put_scores(waiting.name, {"average": 10.0, "scores": {"average": 10.0, "tasks": {}}})
    store.prune(2)
    assert steps(store) == [100, 500, 600]


def test_pruning_removes_damaged_checkpoints_once_a_newer_one_is_stored(store: CheckpointStore) -> None:
    emptied, short, intact, later = added = [add(store, step) for step in (100, 200, 300, 400)]
    truncate(Path(emptied.path, MANIFEST))
    truncate(Path(short.path, WEIGHTS))
    truncate(Path(later.path, WEIGHTS))  # looks like one whose upload is in progress
    store.prune(2)
    store.prune(2, later.name)  # a damaged one proves nothing about those before it
    assert all(Path(stored.path).is_dir() for stored in added)
    store.prune(2, intact.name)
    assert [Path(stored.path).is_dir() for stored in added] == [False, False, True, True]


def test_scores_that_come_late_and_out_of_order_decide_the_best(store: CheckpointStore) -> None:
    early, late = add(store, 100, to_evaluate=True), add(store, 200, to_evaluate=True)
    assert store.best() is None
    for stored, average in ((late, 40.0), (early, 41.0)):
        store.put_scores(stored.name, {"average": average, "scores": {"average": average, "tasks": {}}})
        assert store.best() == next(one for one in store.checkpoints() if one.name == stored.name)
    assert set(store.late_scores()) == {early.name, late.name}


def test_an_attempt_has_its_own_folder_and_removes_fragments_of_others(store: CheckpointStore) -> None:
    assert store.new_attempt() == "attempt-001"
    add(store, 100)
    half = Path(add(store, 200).path)
    (half / MANIFEST).unlink()
    unfinished = half.with_name(".writing-" + half.name)
    unfinished.mkdir()
    assert store.new_attempt() == "attempt-002"
    store.clear_fragments("attempt-001")  # the attempt that may be writing them
    assert half.exists()
    store.clear_fragments("attempt-002")
    assert not half.exists()
    assert not unfinished.exists()
    assert steps(store) == [100]


@pytest.mark.parametrize(
    ("address", "part", "expected"),
    [
        ("/runs", "a", "/runs/a"),
        ("/runs/", "a", "/runs/a"),
        ("/odd?name", "a", "/odd?name/a"),
        ("s3://bucket/runs", "a", "s3://bucket/runs/a"),
        ("s3://bucket/runs?scheme=http", "a", "s3://bucket/runs/a?scheme=http"),
    ],
)
def test_a_path_below_a_folder_or_uri(address: str, part: str, expected: str) -> None:
    assert join_path(address, part) == expected
    assert last_part(expected) == part
