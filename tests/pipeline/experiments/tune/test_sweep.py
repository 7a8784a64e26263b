"""One real sweep that is interrupted and resumed, and the limits of a sweep on trials that train nothing."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from ray import tune

from jobs.cli import parse_settings
from jobs.cli.parser import FIELDS
from pipeline.config import Settings
from pipeline.experiments.train import train
from pipeline.experiments.tune.monitor import SweepMonitor
from pipeline.experiments.tune.records import FAILED, FINISHED, RUNNING, STOPPED
from pipeline.experiments.tune.runner import run_trials
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import parse_space
from pipeline.experiments.tune.sweep import sweep
from pipeline.experiments.tune.trial import TrialTrainable
from tests.pipeline.small_run import make_settings

RATES = {"none": {"train.learning_rate": 1e-9}, "some": {"train.learning_rate": 1e-3}}
SPACE = {"run.seed": {"grid": [1, 2]}, "rate": {"grid": RATES}}
STEPS, EVERY = 4, 2
WANTED = SweepSettings(space=SPACE, max_trials=4, max_concurrent_trials=1, early_stopping="none")


class DriverLostError(Exception):
    """Takes the place of a kill of the driver."""


@dataclass(frozen=True)
class Swept:
    """A finished sweep; `cut` is what its first session left, {path: time of the last change}."""

    settings: Settings
    folder: Path
    cut: dict[Path, int]
    outcome: dict[str, Any]
    lines: list[str]

    @property
    def resumed(self) -> Settings:
        return replace(self.settings, run=replace(self.settings.run, resume=str(self.folder)))


def results_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/results.json")}


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
    folder, space = home / "runs" / "sweep", parse_space(SPACE, list(FIELDS))

    def lose(line: str) -> None:
        if line.startswith(f"trial 2 step {EVERY}"):
            raise DriverLostError

    with pytest.raises(tune.TuneError, match="DriverLostError"):
        sweep(settings, WANTED, space, lose)
    cut, lines = results_of(folder), list[str]()
    swept = Swept(settings, folder, cut, {}, lines)
    return replace(swept, outcome=sweep(swept.resumed, WANTED, space, lines.append))


def test_a_resumed_sweep_trains_no_finished_trial_again_and_the_others_from_their_checkpoints(
    swept: Swept,
) -> None:
    first, second, *_ = swept.outcome["trials"]
    assert [path.parent.name for path in swept.cut] == [first["id"]]
    assert swept.cut.items() <= results_of(swept.folder).items()
    assert [line.split(":")[0] for line in swept.lines if "begins" in line] == [
        "trial 3 begins",
        "trial 4 begins",
    ]
    log = (swept.folder / "trials" / f"{second['id']}.log").read_text()
    assert log.count(f"evaluated at step {EVERY}") == 1
    assert [step for step, *_ in second["history"]] == [EVERY, STEPS]


def test_every_point_of_the_grid_is_tried_once_and_the_best_is_named(swept: Swept) -> None:
    drawn = sorted((one["drawn"]["run.seed"], one["drawn"]["rate"]) for one in swept.outcome["trials"])
    assert drawn == [(1, "none"), (1, "some"), (2, "none"), (2, "some")]
    assert {one["status"] for one in swept.outcome["trials"]} == {FINISHED}
    best = max(swept.outcome["trials"], key=lambda one: one["average"])
    assert swept.outcome["best"] == best["id"]
    results = json.loads((swept.folder / "trials" / best["id"] / "results.json").read_text())
    assert results["average"] == best["average"]
    assert {path.name for path in swept.folder.glob("*.png")} == {"parallel.png", "importance.png"}
    header, *rows = (swept.folder / "trials.csv").read_text().splitlines()
    assert header == "number,id,status,run.seed,rate,average,step,rows_trained,parameters,seconds"
    assert rows[0].startswith(f"1,{swept.outcome['trials'][0]['id']},finished,1,none,")


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
        assert (child.data.tags["status"], child.data.tags["rung"]) == ("finished", str(STEPS))
        steps = [metric.step for metric in client.get_metric_history(child.info.run_id, "eval/average")]
        assert steps == [EVERY, STEPS]
    assert {child.data.params["train.learning_rate"] for child in children} == {"1e-09", "0.001"}


def test_the_best_configuration_trained_again_gives_the_trials_score(swept: Swept) -> None:
    settings = parse_settings(["--config", str(swept.folder / "best.yaml")], "", "")
    best = next(one for one in swept.outcome["trials"] if one["id"] == swept.outcome["best"])
    assert settings.run.name == "sweep-best"
    assert train(settings, lambda _: None)["average"] == best["average"]


def test_another_space_is_refused_with_what_changed_unless_it_is_allowed(swept: Swept) -> None:
    spec = {"run.seed": {"grid": [5]}}
    wanted, space = replace(WANTED, space=spec), parse_space(spec, list(FIELDS))
    with pytest.raises(ValueError, match=r"run.resume: of the sweep, sweep.space was .*'some'.*, is .*5"):
        sweep(swept.resumed, wanted, space)
    assert yaml.safe_load((swept.folder / "config.yaml").read_text())["sweep"]["space"] == SPACE
    lines: list[str] = []
    outcome = sweep(swept.resumed, replace(wanted, allow_changes=True), space, lines.append)
    assert outcome["trials"][:4] == swept.outcome["trials"]
    assert [one["drawn"] for one in outcome["trials"][4:]] == [{"run.seed": 5}]
    assert any(line.startswith("changed: sweep.space was") for line in lines)
    assert results_of(swept.folder).keys() > swept.cut.keys()


class TrialStub(TrialTrainable):
    """Reports the drawn dropout as its score, and fails above 0.9."""

    def train(self, config: dict[str, Any]) -> None:
        score = config["drawn"]["model.dropout"]
        assert score < 0.9
        tune.report({"step": 1, "average": score, "rows_trained": 8, "ended": False})
        final = {"step": 2, "average": score, "rows_trained": 16, "parameters": 7, "seconds": 1.0}
        tune.report({**final, "ended": True})


@pytest.fixture
def session(ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`session(spec, **settings)` runs a session of a sweep of stubs in one folder and returns its monitor."""
    tracker: Any = SimpleNamespace(log_metrics=lambda *_: None, flush=lambda: None)
    settings = make_settings(
        tmp_path, "none", cluster={"num_workers": 0}, train={"max_steps": 2, "eval_every": 1}
    )

    def run(spec: dict[str, Any], **changes: Any) -> SweepMonitor:
        monitor = SweepMonitor(tmp_path, tracker, lambda _: None)
        stub = TrialStub(settings, parse_space({"model.dropout": spec}, list(FIELDS)), "parent")
        run_trials(stub, SweepSettings(**{"max_trials": 2, "retries": 0, **changes}), monitor, 1)
        return monitor

    return run


def test_more_trials_are_added_until_the_time_is_over(session: Any) -> None:
    spec = {"uniform": [0.0, 0.5]}
    first = session(spec).log.trials
    assert [record.status for record in first.values()] == [FINISHED] * 2
    more = session(spec, max_trials=3).log
    assert list(more.trials.values())[:2] == list(first.values())
    assert len({record.drawn["model.dropout"] for record in more.trials.values()}) == 3
    more.record("cut", {"model.dropout": 0.1})
    more.save(3600.0)
    over = session(spec, max_trials=9, max_hours=1.0).log.trials
    assert list(over.values())[:3] == list(more.trials.values())[:3]
    assert over["cut"].status == STOPPED


def test_a_trial_that_fails_or_is_behind_leaves_the_others_alone(session: Any, tmp_path: Path) -> None:
    monitor = session({"grid": [0.95, 0.6, 0.3]}, max_trials=3)
    failed, finished, behind = monitor.log.trials.values()
    assert (failed.status, failed.error) == (FAILED, "AssertionError")
    assert (finished.status, finished.average, finished.parameters) == (FINISHED, 0.6, 7)
    assert (behind.status, behind.step, behind.parameters) == (STOPPED, 1, None)
    assert RUNNING not in (tmp_path / "trials.json").read_text()
