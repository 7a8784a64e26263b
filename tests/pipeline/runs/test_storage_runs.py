"""A run whose checkpoints lie in storage and are evaluated while it trains; its driver's disk is lost."""

import shutil
from dataclasses import replace

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


def test_scores_of_evaluations_elsewhere_are_told_and_decide_the_best(
    stored: Finished, ray_run: Finished
) -> None:
    store = CheckpointStore(str(stored.home / "storage" / "run" / "checkpoints"))
    scored = {found.step: found.average for found in store.checkpoints() if found.average > NOT_EVALUATED}
    assert tuple(scored) == EVALUATED
    best = min(scored, key=lambda step: (-scored[step], step))
    assert (stored.results["best_step"], stored.results["average"]) == (best, scored[best])
    assert [line.split(":")[0] for line in stored.lines if line.startswith("evaluated")] == [
        f"evaluated at step {step}" for step in EVALUATED
    ]
    client = MlflowClient(f"sqlite:///{stored.home}/ml.db")
    run_id = (stored.run_dir / ".mlflow_run_id").read_text().strip()
    curve = client.get_metric_history(run_id, "eval/average")
    assert {point.step: point.value for point in curve} == pytest.approx(scored)
    assert len(curve) == len(scored)


def test_evaluating_elsewhere_changes_nothing_of_the_training(stored: Finished, ray_run: Finished) -> None:
    for name in ("mix.parquet", "rows.parquet"):
        assert pq.read_table(stored.run_dir / name).equals(pq.read_table(ray_run.run_dir / name)), name


def test_a_run_goes_on_from_storage_when_its_machine_is_lost(stored: Finished, ray_run: Finished) -> None:
    place = stored.home / "storage" / "run"
    store = CheckpointStore(str(place / "checkpoints"))
    for found in store.checkpoints():
        if found.step > LOST_AFTER:
            shutil.rmtree(found.path)
    for chunk in (place / "run" / "records").iterdir():
        if int(chunk.name) > LOST_AFTER:
            shutil.rmtree(chunk)
    shutil.rmtree(stored.run_dir)
    settings = parse_settings(["--run.resume", str(place)], "Trains.", "")
    assert settings.run.name == "run"
    lines: list[str] = []
    train(replace(settings, run=replace(settings.run, output_dir=str(stored.home / "new"))), lines.append)
    run_dir = stored.home / "new" / "run"
    assert any(line.startswith(f"step {STEPS}/{STEPS}") for line in lines)
    assert not any(line.startswith("step 3/") for line in lines)
    for name in ("mix.parquet", "rows.parquet"):
        assert pq.read_table(run_dir / name).equals(pq.read_table(ray_run.run_dir / name)), name
    client = MlflowClient(f"sqlite:///{stored.home}/ml.db")
    run_id = (run_dir / ".mlflow_run_id").read_text().strip()
    steps = [point.step for point in client.get_metric_history(run_id, "train/loss")]
    assert sorted(set(steps)) == steps
    assert read_events(run_dir) == []
