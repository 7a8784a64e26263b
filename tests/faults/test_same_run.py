"""The comparison with an undisturbed run finds lost, repeated, damaged and temporary data."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from tests.faults.same_run import curve_differences, differences
from tests.faults.stored import checkpoints, files_with
from tests.pipeline.small_run import STEPS, Finished


@pytest.fixture
def copy(ray_run: Finished, tmp_path: Path) -> Path:
    """A copy of the run directory."""
    return Path(shutil.copytree(ray_run.run_dir, tmp_path / "run"))


def compare(copy: Path, ray_run: Finished) -> list[str]:
    store, expected_store = str(copy / "checkpoints"), str(ray_run.run_dir / "checkpoints")
    return list(differences(copy, ray_run.run_dir, store=store, expected_store=expected_store))


def test_a_copy_has_no_difference_until_its_results_are_missing(copy: Path, ray_run: Finished) -> None:
    assert compare(copy, ray_run) == []
    assert checkpoints(str(copy / "checkpoints"))[-1].step == STEPS
    (copy / "results.json").unlink()
    assert compare(copy, ray_run) == ["there is no results.json: the run has not ended"]


def test_lost_rows_and_files_left_behind_are_found(copy: Path, ray_run: Finished) -> None:
    rows = pq.read_table(copy / "rows.parquet")
    pq.write_table(rows.slice(1), copy / "rows.parquet")
    (copy / "records" / ".writing-abc").mkdir()
    left_behind = f"{copy}/records/.writing-abc was left behind"
    assert compare(copy, ray_run) == ["rows.parquet differs", left_behind]


@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_checkpoint_is_found(copy: Path, ray_run: Finished, cut: bool) -> None:
    first = checkpoints(str(copy / "checkpoints"))[0]
    first.damage_weights(cut=cut)
    assert compare(copy, ray_run) == [f"{first.path}: model/model.safetensors differs from its manifest"]


def test_other_weights_are_found(copy: Path, ray_run: Finished) -> None:
    weights = copy / "model" / "model.safetensors"
    save_file({name: value + 1 for name, value in load_file(weights).items()}, weights)
    shutil.rmtree(checkpoints(str(copy / "checkpoints"))[-1].path)
    best, last = compare(copy, ray_run)
    assert best.startswith("the best step's weights differ")
    assert last.startswith("the last step's checkpoint is missing")


LOSS: list[tuple[int, float]] = [(3, 0.7), (6, 0.5), (9, 0.1)]


@pytest.mark.parametrize(
    ("key", "points", "split_at", "difference"),
    [
        ("train/loss", [(3, 0.7), (6, 0.5), (6, 0.5), (9, 0.1)], [], "has steps more than once"),
        ("train/loss", [(3, 0.7)], [], "has steps [3], not [3, 6, 9]"),
        ("train/loss", [(3, 0.7), (6, 0.4), (9, 0.1)], [], "has other values"),
        ("perf/rows_per_second", [(3, 1.0), (6, 2.0), (9, 3.0)], [], ""),
        ("perf/rows_per_second", [(3, 1.0)], [], "has steps [3], not [3, 6, 9]"),
        # The checkpoint after a notice at step 5 splits the point of step 6.
        ("train/loss", [(3, 0.7), (5, 0.4), (6, 0.6), (9, 0.1)], [5], ""),
        ("train/loss", [(3, 0.7), (5, 0.4), (9, 0.1)], [5], ""),  # of a task without rows in step 6
        ("train/loss", [(3, 0.7), (9, 0.1)], [5], "has steps [3, 9], not [3, 6, 9]"),
        (
            "train/loss",
            [(3, 0.7), (4, 0.4), (6, 0.6), (9, 0.1)],
            [5],
            "has steps [3, 4, 6, 9], not [3, 6, 9]",
        ),
        ("train/loss", [(3, 0.7), (5, 0.4), (6, 0.6), (9, 0.2)], [5], "has other values"),
    ],
)
def test_repeated_missing_and_changed_points_are_found(
    key: str, points: list[tuple[int, float]], split_at: list[int], difference: str
) -> None:
    lines = list(curve_differences({key: points}, {key: LOSS}, split_at=split_at))
    assert len(lines) == bool(difference)
    assert all(difference in line for line in lines)


def test_a_secret_is_found_in_any_file(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "log").write_bytes(b"\x00key=hidden-thing\n")
    found = files_with("hidden-thing", str(tmp_path), str(tmp_path / "none"))
    assert found == [f"{tmp_path}/deep/er/log"]
