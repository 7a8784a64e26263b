"""Complete runs from settings to results: on two Ray workers, and in this process."""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from transformers import AutoTokenizer

from camtl import CaMtlModel
from pipeline.experiments.train import train
from pipeline.runs.checkpoints.store import CheckpointStore
from tests.pipeline.small_run import (
    BATCH,
    EVALUATED,
    REPORTED,
    STEPS,
    TASKS,
    TRAIN_ROWS,
    Finished,
    make_settings,
)

METRICS = {"sentiment": {"accuracy"}, "entailment": {"accuracy"}, "similarity": {"pearson", "spearman"}}
RESULTS = {
    "average",
    "tasks",
    "steps",
    "best_step",
    "seed",
    "sampling",
    "parameters",
    "rows_scored",
    "rows_trained",
}
RESULTS |= {"fraction_of_data", "seconds", "rows_per_second", "data_wait_fraction", "padding_fraction"}


@pytest.fixture(scope="module")
def home(ray_run: Finished) -> Path:
    return ray_run.home


@pytest.fixture(scope="module")
def results(ray_run: Finished) -> dict[str, Any]:
    return ray_run.results


def check_mix_and_rows(run_dir: Path, workers: int) -> None:
    mix, rows = pd.read_parquet(run_dir / "mix.parquet"), pd.read_parquet(run_dir / "rows.parquet")
    assert list(mix) == ["step", "task", "weight", "mean_uncertainty", "candidates", "trained"]
    assert list(mix["step"]) == [step for step in range(1, STEPS + 1) for _ in TASKS]
    assert list(mix["task"]) == list(TASKS) * STEPS
    sums = mix.groupby("step").sum()
    assert set(sums["trained"]) == {BATCH}
    assert set(sums["candidates"]) == {2 * BATCH}
    assert list(sums["weight"]) == pytest.approx([1.0] * STEPS)
    assert list(rows) == ["step", "rank", "task", "row_id"]
    ranks = {(step, rank): BATCH // workers for step in range(1, STEPS + 1) for rank in range(workers)}
    assert rows.groupby(["step", "rank"]).size().to_dict() == ranks
    trained = mix[mix["trained"] > 0].set_index(["step", "task"])["trained"]
    assert rows.groupby(["step", "task"]).size().to_dict() == trained.to_dict()


def check_results(scores: dict[str, Any]) -> None:
    assert set(scores) == RESULTS
    assert {task: set(metrics) for task, metrics in scores["tasks"].items()} == METRICS
    means = [np.mean(list(metrics.values())) for metrics in scores["tasks"].values()]
    assert scores["average"] == pytest.approx(np.mean(means))
    assert scores["steps"] == STEPS
    assert scores["rows_trained"] == STEPS * BATCH
    assert scores["rows_scored"] == 2 * STEPS * BATCH
    assert BATCH / (len(TASKS) * TRAIN_ROWS) <= scores["fraction_of_data"] <= 1
    assert set(scores["parameters"]) == {"total", "trainable", "versus_separate_models"}
    assert scores["seconds"] > 0
    assert scores["rows_per_second"] == pytest.approx(STEPS * BATCH / scores["seconds"])
    assert 0 <= scores["data_wait_fraction"] <= 1
    assert 0 <= scores["padding_fraction"] < 1
    assert scores["seed"] == 3
    assert scores["best_step"] in EVALUATED
    check_sampling(scores)


def check_sampling(scores: dict[str, Any]) -> None:
    """Counts per task add up to the run's, and to what the plan drew."""
    assert tuple(scores["sampling"]) == TASKS
    sums = pd.DataFrame(scores["sampling"]).sum(axis=1)
    assert sums["rows_available"] == len(TASKS) * TRAIN_ROWS
    assert sums["rows_drawn"] == sums["rows_scored"] == scores["rows_scored"]
    assert sums["rows_trained"] == scores["rows_trained"]
    assert sums["distinct_rows_trained"] / sums["rows_available"] == scores["fraction_of_data"]
    for counts in scores["sampling"].values():
        assert counts["distinct_rows_trained"] <= counts["rows_trained"] <= counts["rows_drawn"]
        assert counts["distinct_rows_trained"] <= counts["distinct_rows_drawn"] <= TRAIN_ROWS


def test_two_ray_workers_leave_all_results(results: dict[str, Any], home: Path) -> None:
    run_dir = home / "runs" / "run"
    written = json.loads((run_dir / "results.json").read_text())
    check_results(written)
    assert {name: results[name] for name in written} == written
    assert {task: set(metrics) for task, metrics in results["majority"].items()} == METRICS
    check_mix_and_rows(run_dir, workers=2)
    assert (run_dir / "mix.png").stat().st_size > 0
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert config["data"]["tasks"] == list(TASKS)
    assert config["train"]["max_steps"] == STEPS


def test_the_model_folder_loads_and_names_its_tasks(
    results: dict[str, Any], home: Path, tiny_backbone: str
) -> None:
    folder = home / "runs" / "run" / "model"
    model = CaMtlModel.from_pretrained(folder)
    assert model.config.tasks == list(TASKS)
    assert sum(parameter.numel() for parameter in model.parameters()) == results["parameters"]["total"]
    assert json.loads((folder / "tasks.json").read_text()) == list(TASKS)
    assert all(task in (folder / "README.md").read_text() for task in TASKS)
    tokens = AutoTokenizer.from_pretrained(folder)("the cat sat")["input_ids"]
    assert tokens == AutoTokenizer.from_pretrained(tiny_backbone)("the cat sat")["input_ids"]
    frozen = model.embeddings().state_dict()
    pretrained = CaMtlModel.from_backbone(tiny_backbone, model.config)
    for name, value in pretrained.embeddings().state_dict().items():
        assert frozen[name].equal(value), name


def test_mlflow_has_the_runs_metrics_parameters_files_and_model(results: dict[str, Any], home: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{home}/ml.db")
    [experiment] = client.search_experiments(filter_string="name = 'camtl'")
    run_id = (home / "runs" / "run" / ".mlflow_run_id").read_text().strip()
    run = client.get_run(run_id)
    assert run.info.experiment_id == experiment.experiment_id
    assert run.info.status == "FINISHED"
    expected = {"train/loss", "eval/average"}
    expected |= {f"perf/{name}" for name in ("rows_per_second", "data_wait_fraction", "padding_fraction")}
    for task in TASKS:
        expected |= {f"sampler/weight/{task}", f"sampler/uncertainty/{task}", f"sampler/trained_share/{task}"}
        expected |= {f"eval/{task}/{metric}" for metric in METRICS[task]}
    of_tasks = {f"train/loss/{task}" for task in TASKS}
    assert set(run.data.metrics) - of_tasks == expected
    assert set(run.data.metrics) & of_tasks, "at least the tasks that were trained on"
    assert (
        run.data.metrics["eval/average"] == pytest.approx(results["average"]) or results["best_step"] != STEPS
    )
    evaluated = client.get_metric_history(run_id, "eval/average")
    assert tuple(point.step for point in evaluated) == EVALUATED
    assert tuple(point.step for point in client.get_metric_history(run_id, "train/loss")) == REPORTED
    for name, value in {"run.seed": "3", "data.tasks": json.dumps(TASKS), "train.batch_size": "8"}.items():
        assert run.data.params[name] == value
    files = {file.path for file in client.list_artifacts(run_id)}
    assert {"results.json", "config.yaml", "mix.parquet", "mix.png"} <= files
    [model] = client.search_logged_models(
        [experiment.experiment_id], filter_string=f"source_run_id = '{run_id}'"
    )
    assert model.status == "READY"


def test_a_person_can_follow_the_run(ray_run: Finished) -> None:
    steps = [line for line in ray_run.lines if line.startswith("step ")]
    assert [line.split()[1] for line in steps] == [f"{step}/{STEPS}" for step in REPORTED]
    assert all("rows/s" in line and "left" in line for line in steps)
    assert [line.split(":")[0] for line in ray_run.lines if line.startswith("evaluated")] == [
        f"evaluated at step {step}" for step in EVALUATED
    ]


def test_an_existing_run_directory_is_refused_without_overwrite(
    results: dict[str, Any], home: Path, tiny_backbone: str
) -> None:
    before = (home / "runs" / "run" / "results.json").read_text()
    with pytest.raises(
        ValueError, match=r"run directory .*/runs/run exists: .*--run\.resume .*--run\.overwrite"
    ):
        train(make_settings(home, tiny_backbone), lambda _: None)
    assert (home / "runs" / "run" / "results.json").read_text() == before


def test_one_process_trains_and_replaces_a_run_that_may_be_overwritten(
    ray_cluster: None, results: dict[str, Any], tmp_path: Path, home: Path, tiny_backbone: str
) -> None:
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "left-over").touch()
    settings = make_settings(
        tmp_path,
        tiny_backbone,
        run={"overwrite": True},
        data={"prepared_dir": str(home / "prepared")},
        sampler={"policy": "uniform", "max_epochs_per_task": 0.2},
        cluster={"num_workers": 0},
    )
    lines: list[str] = []
    scores = train(settings, lines.append)
    bound = "sampler.max_epochs_per_task 0.2 cannot hold for 176 candidates of 180 rows"
    assert f"{bound}: every task is drawn 1.0 times" in lines
    run_dir = tmp_path / "runs" / "run"
    assert not (run_dir / "left-over").exists()
    check_results(json.loads((run_dir / "results.json").read_text()))
    check_mix_and_rows(run_dir, workers=1)
    assert scores["majority"] == results["majority"]
    assert not list((run_dir / "checkpoints").rglob(".writing-*"))
    kept = CheckpointStore(str(run_dir / "checkpoints")).checkpoints()
    assert [stored.step for stored in kept][-2:] == [10, STEPS], "the last two"
    assert len(kept) <= 3, "and the best"
