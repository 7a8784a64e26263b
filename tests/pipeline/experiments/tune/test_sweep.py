"""A sweep from its space to its best configuration, with a real Ray Tune and a real MLflow; gone on with, too."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from jobs.cli import parse_settings
from jobs.cli.parser import FIELDS
from pipeline.config import Settings
from pipeline.experiments.train import train
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import parse_space
from pipeline.experiments.tune.sweep import sweep
from tests.pipeline.small_run import make_settings

RATES = {"none": {"train.learning_rate": 1e-9}, "some": {"train.learning_rate": 1e-3}}
SPACE = {"run.seed": {"grid": [1, 2]}, "rate": {"grid": RATES}}
STEPS, EVERY = 4, 2


@dataclass(frozen=True)
class Swept:
    settings: Settings
    folder: Path
    outcome: dict[str, Any]
    lines: list[str]


WANTED = SweepSettings(space=SPACE, max_trials=4, max_concurrent_trials=2, early_stopping="none")


@pytest.fixture(scope="module")
def swept(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> Swept:
    home = tmp_path_factory.mktemp("sweep")
    settings = make_settings(
        home,
        tiny_backbone,
        run={"name": "sweep"},
        train={"max_steps": STEPS, "eval_every": EVERY},
        cluster={"num_workers": 0},
    )
    lines: list[str] = []
    outcome = sweep(settings, WANTED, parse_space(SPACE, list(FIELDS)), lines.append)
    return Swept(settings, home / "runs" / "sweep", outcome, lines)


def test_every_point_of_the_grid_is_tried_once_and_the_best_is_named(swept: Swept) -> None:
    drawn = sorted((one["drawn"]["run.seed"], one["drawn"]["rate"]) for one in swept.outcome["trials"])
    assert drawn == [(1, "none"), (1, "some"), (2, "none"), (2, "some")]
    assert {one["status"] for one in swept.outcome["trials"]} == {"finished"}
    best = max(swept.outcome["trials"], key=lambda one: one["average"])
    assert swept.outcome["best"] == best["id"]
    results = json.loads((swept.folder / "trials" / best["id"] / "results.json").read_text())
    assert results["average"] == best["average"]
    assert {path.name for path in swept.folder.glob("*.png")} == {"parallel.png", "importance.png"}
    assert any(line.startswith("trial 1 begins: ") for line in swept.lines)


def test_mlflow_has_a_parent_with_a_child_for_each_trial(swept: Swept) -> None:
    client = MlflowClient(swept.settings.run.tracking_uri)
    parent = (swept.folder / ".mlflow_run_id").read_text().strip()
    run = client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["sweep/trials_finished"] == 4
    assert {"best.yaml", "trials.csv", "parallel.png"} <= {
        file.path for file in client.list_artifacts(parent)
    }
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert {child.data.tags["trial"] for child in children} == {one["id"] for one in swept.outcome["trials"]}
    for child in children:
        assert child.info.status == "FINISHED"
        assert child.data.tags["status"] == "finished"
        steps = [metric.step for metric in client.get_metric_history(child.info.run_id, "eval/average")]
        assert steps == [EVERY, STEPS]
    assert {child.data.params["train.learning_rate"] for child in children} == {"1e-09", "0.001"}


def test_the_best_configuration_trained_again_gives_the_trials_score(swept: Swept) -> None:
    stored = swept.folder / "best.yaml"
    settings = parse_settings(["--config", str(stored)], "", "")
    best = next(one for one in swept.outcome["trials"] if one["id"] == swept.outcome["best"])
    assert settings.run.name == "sweep-best"
    assert train(settings, lambda _: None)["average"] == best["average"]


def test_going_on_with_a_sweep_that_is_over_trains_nothing_again(swept: Swept) -> None:
    again = replace(swept.settings, run=replace(swept.settings.run, resume=str(swept.folder)))
    models = {path: path.stat().st_mtime_ns for path in swept.folder.glob("trials/*/results.json")}
    lines: list[str] = []
    outcome = sweep(again, WANTED, parse_space(SPACE, list(FIELDS)), lines.append)
    assert outcome["trials"] == swept.outcome["trials"]
    assert {path: path.stat().st_mtime_ns for path in swept.folder.glob("trials/*/results.json")} == models
    assert not any("begins" in line for line in lines)


def test_going_on_with_another_space_is_refused_and_says_what_changed(swept: Swept) -> None:
    space = {"run.seed": {"grid": [1, 2, 3]}}
    again = replace(swept.settings, run=replace(swept.settings.run, resume=str(swept.folder)))
    with pytest.raises(ValueError, match=r"run.resume: of the sweep, sweep.space was .*'some'.*, is .*3"):
        sweep(again, replace(WANTED, space=space), parse_space(space, list(FIELDS)))
    assert yaml.safe_load((swept.folder / "config.yaml").read_text())["sweep"]["space"] == SPACE


def test_another_space_goes_on_where_it_is_allowed_and_keeps_what_there_was(swept: Swept) -> None:
    space = {"run.seed": {"grid": [5]}}
    again = replace(swept.settings, run=replace(swept.settings.run, resume=str(swept.folder)))
    wanted = replace(WANTED, space=space, allow_changes=True)
    lines: list[str] = []
    outcome = sweep(again, wanted, parse_space(space, list(FIELDS)), lines.append)
    assert outcome["trials"][:4] == swept.outcome["trials"]
    assert [one["drawn"] for one in outcome["trials"][4:]] == [{"run.seed": 5}]
    assert any(line.startswith("changed: sweep.space was") for line in lines)
    best = max(outcome["trials"], key=lambda one: one["average"])
    drawn = parse_settings(["--config", str(swept.folder / "best.yaml")], "", "")
    assert drawn.run.seed == best["drawn"]["run.seed"]


def test_trials_are_added_to_a_sweep_that_is_over(
    ray_cluster: None, tmp_path: Path, tiny_backbone: str
) -> None:
    settings = make_settings(
        tmp_path, tiny_backbone, train={"max_steps": 2, "eval_every": 2}, cluster={"num_workers": 0}
    )
    space = {"train.learning_rate": {"loguniform": [1e-5, 1e-3]}}
    wanted = SweepSettings(space=space, max_trials=1, early_stopping="none")
    first = sweep(settings, wanted, parse_space(space, list(FIELDS)), lambda _: None)
    resumed = replace(settings, run=replace(settings.run, resume=str(tmp_path / "runs" / "run")))
    more = sweep(resumed, replace(wanted, max_trials=2), parse_space(space, list(FIELDS)), lambda _: None)
    assert more["trials"][:1] == first["trials"]
    rates = [one["drawn"]["train.learning_rate"] for one in more["trials"]]
    assert len(set(rates)) == 2
    out_of_time = replace(wanted, max_trials=9, max_hours=more["seconds"] / 3600)
    ended = sweep(resumed, out_of_time, parse_space(space, list(FIELDS)), lambda _: None)
    assert ended["trials"] == more["trials"]
