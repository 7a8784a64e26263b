"""One real sweep that is interrupted and resumed, and the limits of a sweep on trials that train nothing."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from ray import tune

from jobs.cli import parse_settings
from jobs.cli.parser import FIELDS
from pipeline.config import ClusterSettings, Settings
from pipeline.experiments.train import train
from pipeline.experiments.tune import sweep as tune_sweep
from pipeline.experiments.tune.monitor import SweepMonitor
from pipeline.experiments.tune.records import FAILED, FINISHED, STOPPED, SweepLog, TrialRecord
from pipeline.experiments.tune.runner import most_concurrent, run_trials
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import parse_space
from pipeline.experiments.tune.sweep import sweep
from tests.pipeline.experiments.tune.stub import StubTrainable
from tests.pipeline.small_run import make_settings

RATES = {"none": {"train.learning_rate": 1e-9}, "some": {"train.learning_rate": 1e-3}}
SPACE = {"rate": {"grid": RATES}}
STEPS, EVERY = 4, 2
WANTED = SweepSettings(space=SPACE, max_trials=2, max_concurrent_trials=1, early_stopping="none")


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
    first, second = swept.outcome["trials"]
    assert [path.parent.name for path in swept.cut] == [first["id"]]
    assert swept.cut.items() <= results_of(swept.folder).items()
    assert not any("begins" in line for line in swept.lines)
    log = (swept.folder / "trials" / f"{second['id']}.log").read_text()
    assert log.count(f"evaluated at step {EVERY}") == 1
    assert [step for step, *_ in second["history"]] == [EVERY, STEPS]


def test_every_point_of_the_grid_is_tried_once_and_the_best_is_named(swept: Swept) -> None:
    assert [one["drawn"] for one in swept.outcome["trials"]] == [{"rate": "none"}, {"rate": "some"}]
    assert {one["status"] for one in swept.outcome["trials"]} == {FINISHED}
    best = max(swept.outcome["trials"], key=lambda one: one["average"])
    assert swept.outcome["best"] == best["id"]
    results = json.loads((swept.folder / "trials" / best["id"] / "results.json").read_text())
    assert results["average"] == best["average"]
    header, *rows = (swept.folder / "trials.csv").read_text().splitlines()
    assert header == "number,id,status,rate,average,step,rows_trained,parameters,seconds"
    assert rows[0].startswith(f"1,{swept.outcome['trials'][0]['id']},finished,none,")


def test_mlflow_has_a_parent_with_a_child_for_each_trial(swept: Swept) -> None:
    client = MlflowClient(swept.settings.run.tracking_uri)
    parent = (swept.folder / ".mlflow_run_id").read_text().strip()
    run = client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["sweep/trials_finished"] == 2
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


def test_another_space_is_refused_with_what_changed_unless_it_is_allowed(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"run.seed": {"grid": [5]}}
    wanted, space = replace(WANTED, space=spec), parse_space(spec, list(FIELDS))
    with pytest.raises(ValueError, match=r"run.resume: of the sweep, sweep.space was .*'some'.*, is .*5"):
        sweep(swept.resumed, wanted, space)
    assert yaml.safe_load((swept.folder / "config.yaml").read_text())["sweep"]["space"] == SPACE
    added: list[TrialRecord] = []

    def run_stub(trainable: object, settings: object, monitor: SweepMonitor, concurrent: int) -> None:
        assert monitor.log.latest_generation() == []
        added.append(monitor.log.record("new", {"run.seed": 5}))

    monkeypatch.setattr(tune_sweep, "run_trials", run_stub)
    lines: list[str] = []
    outcome = sweep(swept.resumed, replace(wanted, allow_changes=True), space, lines.append)
    assert outcome["trials"] == [*swept.outcome["trials"], asdict(added[0])]
    assert outcome["trials"][2]["generation"] == 1
    assert any(line.startswith("changed: sweep.space was") for line in lines)


@pytest.fixture
def session(ray_cluster: None, tmp_path: Path) -> Callable[..., SweepLog]:
    """`session(spec, **settings)` runs a session of a sweep of stubs in one folder and returns its records."""
    tracker: Any = SimpleNamespace(log_metrics=lambda *_: None, flush=lambda: None)
    settings = make_settings(
        tmp_path, "none", cluster={"num_workers": 0}, train={"max_steps": 2, "eval_every": 1}
    )

    def run(spec: dict[str, Any], **changes: Any) -> SweepLog:
        monitor = SweepMonitor(tmp_path, tracker, lambda _: None)
        stub: Any = StubTrainable(settings, parse_space({"model.dropout": spec}, list(FIELDS)))
        run_trials(stub, SweepSettings(**changes), monitor, 1)
        return monitor.log

    return run


def test_a_trial_that_fails_twice_or_is_behind_leaves_the_others_alone(
    session: Callable[..., SweepLog],
) -> None:
    failed, finished, behind = session({"grid": [0.95, 0.6, 0.3]}).trials.values()
    assert (failed.status, failed.error) == (FAILED, "AssertionError")
    assert (finished.status, finished.average, finished.parameters) == (FINISHED, 0.6, 7)
    assert (behind.status, behind.step, behind.parameters) == (STOPPED, 1, None)


def test_trials_are_added_until_the_time_is_over(session: Callable[..., SweepLog]) -> None:
    first = list(session({"uniform": [0.0, 0.5]}, max_trials=1).trials.values())
    more = session({"uniform": [0.0, 0.5]}, max_trials=2, search="optuna", early_stopping="none")
    assert list(more.trials.values())[:1] == first
    assert len({record.drawn["model.dropout"] for record in more.trials.values()}) == 2
    assert session({"uniform": [0.0, 0.5]}, max_trials=2).trials == more.trials
    more.record("unfinished", {"model.dropout": 0.1})
    more.save(3600.0)
    over = session({"uniform": [0.0, 0.5]}, max_trials=9, max_hours=1.0).trials
    assert [record.status for record in over.values()] == [FINISHED, FINISHED, STOPPED]


@pytest.mark.parametrize(
    ("workers", "use_gpu", "expected"),
    [(0, False, 16), (2, False, 7), ((1, 3), False, 5), (2, True, 2), (64, False, 1)],
)
def test_as_many_trials_run_at_a_time_as_the_cluster_can_train(
    monkeypatch: pytest.MonkeyPatch, workers: int | tuple[int, int], use_gpu: bool, expected: int
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 16.0, "GPU": 4.0})
    cluster = ClusterSettings(num_workers=workers, cpus_per_worker=1.0, use_gpu=use_gpu)
    assert most_concurrent(cluster) == expected
