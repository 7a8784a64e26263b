"""A run with checkpoints in storage and asynchronous evaluation, which resumes after its run directory is lost."""

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from jobs.cli import parse_settings
from pipeline.experiments.train import train
from pipeline.runs.checkpoints.checkpoint import NOT_EVALUATED
from pipeline.runs.checkpoints.store import CheckpointStore
from pipeline.runs.events import read_events
from tests.pipeline.small_run import EVALUATED, STEPS, Finished, make_settings

LOST_AFTER = 6


@pytest.fixture(scope="module")
def stored(ray_run: Finished, tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> Finished:
    home = tmp_path_factory.mktemp("stored")
    settings = make_settings(
        home,
        tiny_backbone,
        data={"prepared_dir": str(ray_run.home / "prepared")},
        train={"evaluate": "asynchronous"},
        cluster={"storage_path": str(home / "storage"), "keep_checkpoints": 20},
    )
    lines: list[str] = []
    results = train(settings, lines.append)
    return Finished(home, home / "runs" / "run", results, lines)


def metric_history(home: Path, run_dir: Path, key: str) -> list[tuple[int, float]]:
    run_id = (run_dir / ".mlflow_run_id").read_text().strip()
    points = MlflowClient(f"sqlite:///{home}/ml.db").get_metric_history(run_id, key)
    return [(point.step, point.value) for point in points]


def assert_same_rows(run_dir: Path, expected: Path) -> None:
    for name in ("mix.parquet", "rows.parquet"):
        assert pq.read_table(run_dir / name).equals(pq.read_table(expected / name)), name


def test_asynchronous_evaluations_decide_the_best_and_change_no_rows(
    stored: Finished, ray_run: Finished
) -> None:
    store = CheckpointStore(str(stored.home / "storage" / "run" / "checkpoints"))
    scored = {one.step: one.average for one in store.checkpoints() if one.average > NOT_EVALUATED}
    assert tuple(scored) == EVALUATED
    best = min(scored, key=lambda step: (-scored[step], step))
    assert (stored.results["best_step"], stored.results["average"]) == (best, scored[best])
    assert [line.split(":")[0] for line in stored.lines if line.startswith("evaluated")] == [
        f"evaluated at step {step}" for step in EVALUATED
    ]
    curve = metric_history(stored.home, stored.run_dir, "eval/average")
    assert dict(curve) == pytest.approx(scored)
    assert len(curve) == len(scored)
    assert_same_rows(stored.run_dir, ray_run.run_dir)


def test_a_run_resumes_from_storage_when_its_run_directory_is_lost(
    stored: Finished, ray_run: Finished
) -> None:
    storage = stored.home / "storage" / "run"
    for checkpoint in CheckpointStore(str(storage / "checkpoints")).checkpoints():
        if checkpoint.step > LOST_AFTER:
            shutil.rmtree(checkpoint.path)
    for chunk in (storage / "run" / "records").iterdir():
        if int(chunk.name) > LOST_AFTER:
            shutil.rmtree(chunk)
    shutil.rmtree(stored.run_dir)
    settings = parse_settings(["--run.resume", str(storage)], "Trains.", "")
    assert settings.run.name == "run"
    lines: list[str] = []
    train(replace(settings, run=replace(settings.run, output_dir=str(stored.home / "new"))), lines.append)
    run_dir = stored.home / "new" / "run"
    assert any(line.startswith(f"step {STEPS}/{STEPS}") for line in lines)
    assert not any(line.startswith("step 3/") for line in lines)
    assert_same_rows(run_dir, ray_run.run_dir)
    steps = [step for step, _ in metric_history(stored.home, run_dir, "train/loss")]
    assert sorted(set(steps)) == steps
    assert read_events(run_dir) == []
