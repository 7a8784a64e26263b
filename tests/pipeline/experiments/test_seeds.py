"""A group of seeds: one folder and one MLflow run above its runs, which a stub trains."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.config import Settings
from pipeline.experiments import seeds
from pipeline.experiments.compare.finder import RunFinder
from pipeline.experiments.compare.groups import group_runs
from pipeline.experiments.seeds import train_seeds
from pipeline.experiments.train import train
from tests.pipeline.experiments.logged_runs import log_run, make_results
from tests.pipeline.small_run import make_settings


@dataclass
class Stub:
    """Takes the place of `train`; `trained` has the settings of each run, and a seed in `lost` gets no results."""

    trained: list[Settings] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)

    def train(self, settings: Settings, show: Callable[[str], None], tags: dict[str, str]) -> None:
        run = settings.run
        self.trained.append(settings)
        run_dir = Path(run.output_dir) / run.name
        run_dir.mkdir(exist_ok=True)
        results = None if run.seed in self.lost else make_results(run.seed, rte=60.0 + run.seed)
        run_id = log_run(run.tracking_uri, run.name, results, run_dir, **tags)
        (run_dir / ".mlflow_run_id").write_text(run_id)
        if results is None:
            raise KeyboardInterrupt


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    stub = Stub()
    monkeypatch.setattr(seeds, "train", stub.train)
    monkeypatch.setattr(seeds, "check_training", lambda settings: None)
    return stub


def parent_of(settings: Settings) -> Any:
    folder = Path(settings.run.output_dir) / settings.run.name
    run_id = (folder / ".mlflow_run_id").read_text().strip()
    return MlflowClient(settings.run.tracking_uri).get_run(run_id)


def test_a_group_is_interrupted_resumed_and_gets_another_seed(
    stub: Stub, tmp_path: Path, tracking_uri: str
) -> None:
    run = {"name": "seeds", "seeds": (1, 2), "tracking_uri": tracking_uri}
    settings = make_settings(tmp_path, "none", run=run)
    folder = tmp_path / "runs" / "seeds"
    stub.lost = {2}
    with pytest.raises(KeyboardInterrupt):
        train_seeds(settings, lambda _: None)
    assert parent_of(settings).info.status == "KILLED"
    first = replace(settings.run, seed=1, seeds=(), name="seeds-seed-1", output_dir=str(folder))
    assert stub.trained[0] == replace(settings, run=first), "a seed is trained as it would be alone"

    stub.lost = set()
    resumed = replace(settings, run=replace(settings.run, resume=str(folder), seeds=(1, 2, 3)))
    lines: list[str] = []
    group, written = train_seeds(resumed, lines.append)
    assert lines == ["seed 1: trained before", "seed 2: 2 of 3", "seed 3: 3 of 3"]
    assert [one.run.seed for one in stub.trained] == [1, 2, 2, 3]
    assert stub.trained[2].run.resume == str(folder / "seeds-seed-2")
    assert stub.trained[3].run.resume is None
    assert [run.seed for run in group.runs] == [1, 2, 3]
    parent = parent_of(settings)
    assert parent.info.status == "FINISHED"
    averages = [run.results["average"] for run in group.runs]
    assert parent.data.metrics["mean/average"] == pytest.approx(mean(averages))
    assert parent.data.metrics["deviation/rte/accuracy"] == pytest.approx(1.0)
    assert str(folder / "compare.md") in written
    assert "| rte | accuracy | 62.00 ± 1.00 |" in (folder / "compare.md").read_text()

    found = RunFinder(settings.run.tracking_uri, "camtl").by_reference("seeds")
    assert [run.seed for run in found] == [1, 2, 3]
    assert [one.label for one in group_runs(found)[0]] == ["seeds"]


def test_other_settings_and_other_folders_are_refused(
    stub: Stub, tmp_path: Path, tracking_uri: str, tiny_backbone: str
) -> None:
    run = {"name": "refusing", "seeds": (1,), "tracking_uri": tracking_uri}
    settings = make_settings(tmp_path, tiny_backbone, run=run)
    train_seeds(settings, lambda _: None)
    other = {"name": "other", "resume": "other"}
    resumed = {"resume": str(tmp_path / "runs" / "refusing")}
    for start, changes, steps, message in (
        (train_seeds, {}, 11, r"^group .* exists: continue it with --run.resume"),
        (train_seeds, other, 11, r"^run.resume: .* is no group"),
        (
            train_seeds,
            resumed,
            5,
            r"^run.resume: of the group, train.max_steps was 11, is 5: its seeds would",
        ),
        (train, {**resumed, "seeds": ()}, 11, r"is a group of runs: .*--run.seeds \[1"),
    ):
        changed = replace(settings.run, **changes)
        with pytest.raises(ValueError, match=message):
            start(replace(settings, run=changed, train=replace(settings.train, max_steps=steps)))
    assert len(stub.trained) == 1
