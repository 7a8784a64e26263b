"""Comparing runs: hand-worked numbers, and real runs in MLflow's SQLite."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.experiments.compare.finder import RunFinder
from pipeline.experiments.compare.groups import Run, group_runs
from pipeline.experiments.compare.report import markdown, write_report
from pipeline.experiments.compare.scores import PairedTest, paired_test
from pipeline.tracking.runs import start_run
from tests.mlflow_server import MlflowServer
from tests.pipeline.experiments.logged_runs import log_run, make_results


def paired(reference: dict[int, float], other: dict[int, float]) -> PairedTest:
    return paired_test(pd.Series(reference), pd.Series(other))


def make_run(name: str, seed: int, started: int = 0, variant: str = "base", **tasks: float) -> Run:
    settings = {"model.variant": variant, "run.seed": str(seed), "cluster.max_failures": str(seed)}
    results = make_results(seed, **(tasks or {"rte": 60.0}))
    return Run(run_id=name, name=name, started=started, seed=seed, settings=settings, results=results)


def test_a_paired_test_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, sd 1, t = 2 * sqrt(3) = 3.4641; p = 0.0742; 4.3027 / sqrt(3) = 2.4841.
    test = paired({0: 10.0, 1: 10.0, 2: 10.0, 7: 0.0}, {2: 13.0, 1: 12.0, 0: 11.0, 8: 99.0})
    assert test.seeds == 3
    assert (test.difference, test.low, test.high) == pytest.approx((2.0, -0.4841, 4.4841), abs=1e-4)
    assert test.p == pytest.approx(0.0742, abs=1e-4)
    assert str(test) == "+2.00 over 3 shared seeds, 95% interval -0.48 to +4.48, p = 0.074"


@pytest.mark.parametrize(
    ("reference", "other", "difference", "text"),
    [
        ({0: 1.0, 1: 1.0, 2: 1.0}, {0: 5.0, 1: 5.001, 2: 5.002}, 4.001, "p < 0.001"),
        ({0: 0.1, 1: 0.2, 2: 0.3}, {0: 1.1, 1: 1.2, 2: 1.3}, 1.0, "the same at every seed, so there is no"),
        ({0: 1.0, 1: 2.0}, {0: 2.0, 1: 4.0}, 1.5, "too few for a test, which takes 3"),
        ({0: 1.0}, {1: 2.0}, None, "no shared seeds"),
    ],
)
def test_a_test_is_put_into_words(
    reference: dict[int, float], other: dict[int, float], difference: float | None, text: str
) -> None:
    test = paired(reference, other)
    assert test.difference == (None if difference is None else pytest.approx(difference))
    assert text in str(test)
    assert (test.p is None) == ("p <" not in text)


def test_seeds_of_one_configuration_are_a_group_and_limits_on_failures_split_none() -> None:
    runs = [make_run("b0", 0), make_run("n0", 0, variant="none"), make_run("b1", 1)]
    groups, remarks = group_runs(runs)
    assert [group.label for group in groups] == ["variant=base", "variant=none"]
    assert [[run.name for run in group.runs] for group in groups] == [["b0", "b1"], ["n0"]]
    assert groups[0].settings["cluster.max_failures"] == "0 / 1"
    assert "run.seed" not in groups[0].settings
    assert not remarks


def test_of_a_seed_trained_twice_the_newest_is_used() -> None:
    groups, remarks = group_runs([make_run("new", 0, started=2), make_run("old", 0, started=1)])
    assert [run.name for run in groups[0].runs] == ["new"]
    assert "old is left out" in remarks[0]


def test_a_run_that_is_older_than_a_setting_has_its_default() -> None:
    later = make_run("later", 1)
    settings = dict(later.settings) | {"sampler.task_factors": "{}", "data.in_memory_bytes": "None"}
    groups, _ = group_runs([make_run("earlier", 0), Run(**{**vars(later), "settings": settings})])
    assert len(groups) == 1


def test_averages_are_over_the_tasks_that_all_runs_have() -> None:
    groups, _ = group_runs(
        [make_run("a", 0, rte=60.0, cola=20.0), make_run("b", 0, variant="none", rte=50.0)]
    )
    page = markdown(groups, [])
    assert "| average of the tasks in all |  | **60.00** | 50.00 |" in page
    assert "| average |" not in page
    assert "| cola | accuracy | **20.00** | – |" in page


def test_the_best_mean_is_bold_where_there_is_a_choice() -> None:
    groups, _ = group_runs([make_run("a", 0, rte=60.0), make_run("b", 0, variant="none", rte=61.0)])
    assert "| rte | accuracy | 60.00 | **61.00** |" in markdown(groups, [])
    assert "**" not in markdown(groups[:1], [])


def test_the_files_can_be_read_back(tmp_path: Path) -> None:
    runs = [make_run(f"b{s}", s, rte=60.0 + s) for s in range(3)]
    runs += [make_run(f"n{s}", s, variant="none", rte=61.0 + 2 * s) for s in range(3)]
    groups, _ = group_runs(runs)
    written = write_report(groups, ["a remark"], str(tmp_path / "out"))
    assert sorted(str(path) for path in (tmp_path / "out").iterdir()) == sorted(written)
    values = pd.read_csv(tmp_path / "out" / "compare.csv")
    scores = values[(values["task"] == "rte") & (values["group"] == "variant=none")]["value"]
    assert list(scores) == [61.0, 63.0, 65.0]
    first = pd.read_csv(tmp_path / "out" / "compare_tests.csv").iloc[0]
    assert (first["seeds"], first["difference"], first["p"]) == (3, 2.0, pytest.approx(0.0742, abs=1e-4))
    page = (tmp_path / "out" / "compare.md").read_text()
    assert "| rte | accuracy | 61.00 ± 1.00 | **63.00 ± 2.00** |" in page
    assert "| rows trained |  | 320 | 320 |" in page
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        write_report(groups, [], str(tmp_path / "file" / "out"))


def test_runs_are_found_by_id_name_parent_and_query(tmp_path: Path, tracking_uri: str) -> None:
    uri = tracking_uri
    log_run(uri, "solo", make_results(0, rte=1.0), tmp_path)
    run_id = log_run(uri, "solo", make_results(0, rte=2.0), tmp_path)
    parent = start_run(uri, "camtl", "sweep", {}, {})
    log_run(uri, "trial-0", make_results(0, rte=3.0), tmp_path, **{"mlflow.parentRunId": parent})
    log_run(uri, "trial-1", None, tmp_path, **{"mlflow.parentRunId": parent})
    finder = RunFinder(uri, "camtl")
    assert [run.run_id for run in finder.by_reference("solo")] == [run_id]
    assert finder.by_reference(run_id, "mine")[0].alias == "mine"
    assert [run.name for run in finder.by_reference("sweep")] == ["trial-0"]
    assert len(finder.by_query("attributes.run_name = 'solo'")) == 2
    assert finder.remarks == [
        "2 runs are called solo: the newest is used",
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


def test_among_children_one_without_a_number_is_left_out_and_named(tmp_path: Path, tracking_uri: str) -> None:
    uri = tracking_uri
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
