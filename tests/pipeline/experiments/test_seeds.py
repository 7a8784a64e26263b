"""A group of seeds: one folder and one MLflow run above its runs, gone on with where it was interrupted."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import pytest
from mlflow import MlflowClient

from pipeline.config import Settings
from pipeline.experiments.compare.groups import Group, group_runs
from pipeline.experiments.compare.runs import RunFinder
from pipeline.experiments.seeds import train_seeds
from pipeline.experiments.train import train
from tests.pipeline.small_run import make_settings

SEEDS = (1, 2)


@dataclass(frozen=True)
class Seeded:
    settings: Settings
    folder: Path
    group: Group
    lines: list[str]


@pytest.fixture(scope="module")
def seeded(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> Seeded:
    home = tmp_path_factory.mktemp("seeds")
    settings = make_settings(
        home,
        tiny_backbone,
        run={"name": "group", "seeds": SEEDS},
        train={"max_steps": 4, "eval_every": 2},
        cluster={"num_workers": 0},
    )
    lines: list[str] = []
    group, _ = train_seeds(settings, lines.append)
    return Seeded(settings, home / "runs" / "group", group, lines)


def test_each_seed_has_a_run_that_equals_the_one_trained_alone(seeded: Seeded, tmp_path: Path) -> None:
    assert [(run.seed, run.name) for run in seeded.group.runs] == [(1, "group-seed-1"), (2, "group-seed-2")]
    alone = replace(seeded.settings.run, seed=2, seeds=(), name="alone", output_dir=str(tmp_path))
    results = train(replace(seeded.settings, run=alone), lambda _: None)
    assert seeded.group.runs[1].results["tasks"] == results["tasks"]
    assert seeded.group.runs[0].results["tasks"] != results["tasks"]


def test_mlflow_has_their_parent_with_means_and_compare_finds_them_by_it(seeded: Seeded) -> None:
    uri = seeded.settings.run.tracking_uri
    finder = RunFinder(uri, "camtl")
    found = finder.by_reference("group")
    assert [run.run_id for run in found] == [run.run_id for run in seeded.group.runs]
    assert [group.label for group in group_runs(found)[0]] == ["group"]
    parent = MlflowClient(uri).get_run((seeded.folder / ".mlflow_run_id").read_text().strip())
    assert parent.info.status == "FINISHED"
    averages = [run.results["average"] for run in seeded.group.runs]
    assert parent.data.metrics["mean/average"] == pytest.approx(mean(averages))
    assert "±" in (seeded.folder / "compare.md").read_text()


def test_a_seed_is_added_and_the_others_stay_as_they_are(seeded: Seeded) -> None:
    files = {path: path.stat().st_mtime_ns for path in seeded.folder.glob("*/results.json")}
    run = replace(seeded.settings.run, resume=str(seeded.folder), seeds=(*SEEDS, 3))
    lines: list[str] = []
    group, _ = train_seeds(replace(seeded.settings, run=run), lines.append)
    assert [one.seed for one in group.runs] == [1, 2, 3]
    assert {path: path.stat().st_mtime_ns for path in files} == files
    parent = (seeded.folder / ".mlflow_run_id").read_text().strip()
    told = MlflowClient(run.tracking_uri).get_run(parent).data.metrics["mean/average"]
    assert told == pytest.approx(mean(one.results["average"] for one in group.runs))
    assert [line for line in lines if line.startswith("seed ")] == [
        "seed 1: trained before",
        "seed 2: trained before",
        "seed 3: 3 of 3",
    ]


def test_a_run_that_was_interrupted_goes_on(seeded: Seeded, tmp_path: Path) -> None:
    run = replace(seeded.settings.run, seeds=(1,), name="cut", output_dir=str(tmp_path))
    settings = replace(seeded.settings, run=run)
    train_seeds(settings, lambda _: None)
    folder = tmp_path / "cut"
    whole = json.loads((folder / "cut-seed-1" / "results.json").read_text())
    (folder / "cut-seed-1" / "results.json").unlink()  # as if it had been killed after its last checkpoint
    lines: list[str] = []
    group, _ = train_seeds(replace(settings, run=replace(run, resume=str(folder))), lines.append)
    assert group.runs[0].results["tasks"] == whole["tasks"]
    assert not any(line.startswith("step ") for line in lines)  # nothing was trained twice


def test_seeds_of_another_configuration_are_refused(seeded: Seeded) -> None:
    run = replace(seeded.settings.run, resume=str(seeded.folder), seeds=(*SEEDS, 4))
    longer = replace(seeded.settings.train, max_steps=5)
    with pytest.raises(
        ValueError, match=r"^run.resume: of the group, train.max_steps was 4, is 5: its seeds would"
    ):
        train_seeds(replace(seeded.settings, run=run, train=longer))
    assert not (seeded.folder / "group-seed-4").exists()


def test_what_is_no_group_and_what_is_one_are_told_apart(seeded: Seeded) -> None:
    run = seeded.settings.run
    with pytest.raises(ValueError, match=r"^group .* exists: go on with it by --run.resume"):
        train_seeds(seeded.settings)
    with pytest.raises(ValueError, match=r"^run.resume: .* is no group"):
        train_seeds(replace(seeded.settings, run=replace(run, name="other", resume="other")))
    with pytest.raises(ValueError, match=r"^run.resume: .* is a group of runs: give its --run.seeds \[1, 2"):
        train(replace(seeded.settings, run=replace(run, seeds=(), resume=str(seeded.folder))))
