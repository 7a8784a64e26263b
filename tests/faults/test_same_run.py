"""The comparison with an undisturbed run finds what is lost, doubled, damaged or left behind."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from tests.faults.same_run import Curves, curve_differences, curves, differences, shown_secrets
from tests.faults.stored import checkpoints
from tests.pipeline.small_run import STEPS, Finished

CURVES: Curves = {"train/loss": [(3, 0.7), (6, 0.5)], "perf/rows_per_second": [(3, 90.0), (6, 80.0)]}


@pytest.fixture
def copy(ray_run: Finished, tmp_path: Path) -> Path:
    """The run directory once more."""
    return Path(shutil.copytree(ray_run.run_dir, tmp_path / "run"))


def told(copy: Path, ray_run: Finished) -> list[str]:
    store, expected_store = str(copy / "checkpoints"), str(ray_run.run_dir / "checkpoints")
    return list(differences(copy, ray_run.run_dir, store=store, expected_store=expected_store))


def test_a_copy_has_no_difference(copy: Path, ray_run: Finished) -> None:
    assert told(copy, ray_run) == []
    assert checkpoints(str(copy / "checkpoints"))[-1].step == STEPS


def test_a_run_that_has_not_ended_is_told(copy: Path, ray_run: Finished) -> None:
    (copy / "results.json").unlink()
    assert told(copy, ray_run) == ["there is no results.json: the run has not ended"]


def test_lost_rows_and_what_was_left_behind_are_told(copy: Path, ray_run: Finished) -> None:
    rows = pq.read_table(copy / "rows.parquet")
    pq.write_table(rows.slice(1), copy / "rows.parquet")
    (copy / "records" / ".writing-abc").mkdir()
    assert told(copy, ray_run) == [
        "rows.parquet differs",
        f"{copy}/records/.writing-abc was left behind",
    ]


@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_checkpoint_is_told(copy: Path, ray_run: Finished, cut: bool) -> None:
    first = checkpoints(str(copy / "checkpoints"))[0]
    first.damage_weights(cut=cut)
    assert told(copy, ray_run) == [
        f"{first.path}: model/model.safetensors is not what its manifest tells",
    ]


def test_other_weights_are_told(copy: Path, ray_run: Finished) -> None:
    weights = copy / "model" / "model.safetensors"
    save_file({name: value + 1 for name, value in load_file(weights).items()}, weights)
    shutil.rmtree(checkpoints(str(copy / "checkpoints"))[-1].path)
    best, last = told(copy, ray_run)
    assert best.startswith("the best step's weights differ")
    assert last.startswith("the last step's checkpoint is not there")


def test_real_curves_equal_themselves(ray_run: Finished) -> None:
    status, drawn = curves(f"sqlite:///{ray_run.home}/ml.db", ray_run.run_dir)
    assert status == "FINISHED"
    assert len(drawn["train/loss"]) > 3
    assert list(curve_differences(drawn, drawn)) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"train/loss": [(3, 0.7), (6, 0.5), (6, 0.5)]}, ["has steps more than once"]),
        ({"train/loss": [(3, 0.7)]}, ["has steps [3], not [3, 6]"]),
        ({"train/loss": [(3, 0.7), (6, 0.4)]}, ["has other values"]),
        ({"perf/rows_per_second": [(3, 1.0), (6, 2.0)]}, []),
        ({"perf/rows_per_second": [(3, 1.0)]}, ["has steps [3], not [3, 6]"]),
    ],
)
def test_steps_that_are_doubled_or_missing_are_told(changed: Curves, words: list[str]) -> None:
    found = list(curve_differences({**CURVES, **changed}, CURVES))
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([(3, 0.7), (5, 0.4), (6, 0.6), (9, 0.1)], []),
        ([(3, 0.7), (5, 0.4), (9, 0.1)], []),  # of a task without rows in step 6
        ([(3, 0.7), (9, 0.1)], ["has steps [3, 9], not [3, 6, 9]"]),
        ([(3, 0.7), (4, 0.4), (6, 0.6), (9, 0.1)], ["has steps [3, 4, 6, 9], not [3, 6, 9]"]),
        ([(3, 0.7), (5, 0.4), (6, 0.6), (9, 0.2)], ["has other values"]),
    ],
)
def test_a_checkpoint_for_a_notice_splits_a_point_of_a_curve(
    points: list[tuple[int, float]], words: list[str]
) -> None:
    expected: Curves = {"train/loss": [(3, 0.7), (6, 0.5), (9, 0.1)]}
    found = list(curve_differences({"train/loss": points}, expected, split_at=[5]))
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


def test_a_secret_is_found_wherever_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "log").write_bytes(b"\x00key=hidden-thing\n")
    found = list(shown_secrets("hidden-thing", {"log": str(tmp_path), "other": str(tmp_path / "none")}))
    assert found == [f"log: {tmp_path}/deep/er/log shows the storage's secret key"]
