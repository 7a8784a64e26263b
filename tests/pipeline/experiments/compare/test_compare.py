"""Comparing runs: hand-worked numbers, and real runs in MLflow's SQLite."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.experiments.compare.groups import Run, group_runs
from pipeline.experiments.compare.report import differences_csv, markdown, write_report
from pipeline.experiments.compare.runs import RunFinder
from pipeline.experiments.compare.statistics import paired, spread
from pipeline.experiments.compare.table import in_words, score_values
from pipeline.tracking.runs import start_run
from tests.mlflow_server import MlflowServer


def make_results(seed: int, **tasks: float) -> dict[str, Any]:
    return {
        "average": sum(tasks.values()) / len(tasks),
        "tasks": {task: {"accuracy": value} for task, value in tasks.items()},
        "rows_trained": 320,
        "seed": seed,
    }


def make_run(name: str, seed: int, started: int = 0, variant: str = "base", **tasks: float) -> Run:
    settings = {"model.variant": variant, "run.seed": str(seed), "cluster.max_failures": str(seed)}
    results = make_results(seed, **(tasks or {"rte": 60.0}))
    return Run(run_id=name, name=name, started=started, seed=seed, settings=settings, results=results)


def log_run(uri: str, name: str, results: dict[str, Any] | None, folder: Path, **tags: str) -> str:
    run_id = start_run(uri, "camtl", name, {"run": {"name": name}, "model": {"variant": name[:4]}}, tags)
    client = MlflowClient(uri)
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
        client.log_artifact(run_id, str(folder / "results.json"))
    client.set_terminated(run_id, "FINISHED" if results else "FAILED")
    return run_id


def test_spread_is_the_sample_standard_deviation() -> None:
    assert spread([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert spread([5.0]) == (5.0, None)


def test_a_paired_test_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, sd 1, t = 2 * sqrt(3) = 3.4641; p = 0.0742; 4.3027 / sqrt(3) = 2.4841.
    test = paired({0: 10.0, 1: 10.0, 2: 10.0, 7: 0.0}, {2: 13.0, 1: 12.0, 0: 11.0, 8: 99.0})
    assert test.seeds == (0, 1, 2)
    assert (test.difference, test.low, test.high) == pytest.approx((2.0, -0.4841, 4.4841), abs=1e-4)
    assert test.p == pytest.approx(0.0742, abs=1e-4)
    assert in_words(test) == "+2.00 over 3 shared seeds, 95% interval -0.48 to +4.48, p = 0.074"
    sure = paired({0: 1.0, 1: 1.0, 2: 1.0}, {0: 5.0, 1: 5.001, 2: 5.002})
    assert in_words(sure).endswith("p < 0.001")


def test_the_same_difference_at_every_seed_has_no_p() -> None:
    test = paired({0: 0.1, 1: 0.2, 2: 0.3}, {0: 1.1, 1: 1.2, 2: 1.3})
    assert test.difference == pytest.approx(1.0)
    assert test.p is None
    assert "same at every seed" in in_words(test)


def test_two_seeds_are_too_few() -> None:
    assert "too few" in in_words(paired({0: 1.0, 1: 2.0}, {0: 2.0, 1: 4.0}))
    assert in_words(paired({0: 1.0}, {1: 2.0})) == "no shared seeds"


def test_seeds_of_one_configuration_are_a_group_and_patience_splits_none() -> None:
    runs = [make_run("b0", 0), make_run("n0", 0, variant="none"), make_run("b1", 1)]
    groups, remarks = group_runs(runs)
    assert [group.label for group in groups] == ["variant=base", "variant=none"]
    assert [[run.name for run in group.runs] for group in groups] == [["b0", "b1"], ["n0"]]
    assert groups[0].settings["cluster.max_failures"] == "0 / 1"
    assert "run.seed" not in groups[0].settings
    assert not remarks


def test_of_a_seed_trained_twice_the_newest_is_taken() -> None:
    groups, remarks = group_runs([make_run("new", 0, started=2), make_run("old", 0, started=1)])
    assert [run.name for run in groups[0].runs] == ["new"]
    assert "old is left out" in remarks[0]


def test_a_run_from_before_a_setting_is_at_its_default() -> None:
    later = make_run("later", 1)
    settings = dict(later.settings) | {"sampler.task_factors": "{}", "data.in_memory_bytes": "None"}
    groups, _ = group_runs([make_run("earlier", 0), Run(**{**vars(later), "settings": settings})])
    assert len(groups) == 1


def test_averages_of_other_tasks_are_not_held_against_each_other() -> None:
    groups, _ = group_runs(
        [make_run("a", 0, rte=60.0, cola=20.0), make_run("b", 0, variant="none", rte=50.0)]
    )
    values = score_values(groups)
    assert values["average of the tasks in all", ""] == [{0: 60.0}, {0: 50.0}]
    assert ("average", "") not in values
    assert "| cola | accuracy | **20.00** | – |" in markdown(groups, [])


def test_the_best_mean_is_bold_where_there_is_a_choice() -> None:
    groups, _ = group_runs([make_run("a", 0, rte=60.0), make_run("b", 0, variant="none", rte=61.0)])
    assert "| rte | accuracy | 60.00 | **61.00** |" in markdown(groups, [])
    assert "**" not in markdown(groups[:1], [])


def test_files_are_whole_and_can_be_read_back(tmp_path: Path) -> None:
    runs = [make_run(f"b{s}", s, rte=60.0 + s) for s in range(3)]
    runs += [make_run(f"n{s}", s, variant="none", rte=61.0 + 2 * s) for s in range(3)]
    groups, _ = group_runs(runs)
    written = write_report(groups, ["a remark"], str(tmp_path / "out"))
    assert sorted(str(path) for path in (tmp_path / "out").iterdir()) == sorted(written)
    lines = list(csv.DictReader((tmp_path / "out" / "compare.csv").open()))
    scores = [float(one["value"]) for one in lines if (one["task"], one["group"]) == ("rte", "variant=none")]
    assert scores == [61.0, 63.0, 65.0]
    [first, *_] = csv.DictReader(differences_csv(groups).splitlines())
    assert (first["difference"], first["p"][:6]) == ("2.0", "0.0741")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        write_report(groups, [], str(tmp_path / "file" / "out"))


def test_runs_are_found_by_id_name_parent_and_query(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    log_run(uri, "solo", make_results(0, rte=1.0), tmp_path)
    run_id = log_run(uri, "solo", make_results(0, rte=2.0), tmp_path)
    parent = start_run(uri, "camtl", "sweep", {}, {})
    log_run(uri, "trial-0", make_results(0, rte=3.0), tmp_path, **{"mlflow.parentRunId": parent})
    log_run(uri, "trial-1", None, tmp_path, **{"mlflow.parentRunId": parent})
    finder = RunFinder(uri, "camtl")
    assert [run.run_id for run in finder.by_reference("solo")] == [run_id]
    assert finder.by_reference(run_id, "mine")[0].given_name == "mine"
    assert [run.name for run in finder.by_reference("sweep")] == ["trial-0"]
    assert len(finder.by_query("attributes.run_name = 'solo'")) == 2
    assert finder.remarks == [
        "2 runs are called solo: the newest is taken",
        "trial-1 is left out: no results, FAILED",
    ]
    for reference, expected in (("sollo", "did you mean solo"), ("trial-1", "its status is FAILED")):
        with pytest.raises(ValueError, match=expected):
            finder.by_reference(reference)
    for query, expected in (("((", "cannot read it"), ("attributes.run_name = 'x'", "0 runs")):
        with pytest.raises(ValueError, match=expected):
            finder.by_query(query)
    with pytest.raises(ValueError, match=r"there are .*camtl"):
        RunFinder(uri, "other")


def test_among_children_one_without_a_number_is_left_out_and_named(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    parent = log_run(uri, "group", None, tmp_path)
    log_run(uri, "good", make_results(0, rte=60.0), tmp_path, **{"mlflow.parentRunId": parent})
    lost = log_run(uri, "lost", make_results(1, rte=float("nan")), tmp_path, **{"mlflow.parentRunId": parent})
    finder = RunFinder(uri, "camtl")
    assert [run.name for run in finder.by_reference("group")] == ["good"]
    (remark,) = finder.remarks
    assert remark.startswith(
        "lost is left out: run lost: its results.json cannot be read (a score is not a number)"
    )
    with pytest.raises(ValueError, match="leave the run out"):
        finder.by_reference(lost)


def test_runs_on_a_server_are_found_with_their_results(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    run_id = log_run(mlflow_server.uri, "compared", make_results(4, rte=61.0), tmp_path)
    finder = RunFinder(mlflow_server.uri, "camtl")
    (run,) = finder.by_reference("compared")
    assert (run.run_id, run.seed, run.results["tasks"]) == (run_id, 4, {"rte": {"accuracy": 61.0}})
