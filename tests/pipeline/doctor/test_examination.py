"""All checks together, on a real Ray: what is well, what is not, and that one does not stop another."""

import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline.doctor.examination import examine
from pipeline.doctor.finding import Finding, guarded, within
from pipeline.doctor.node import NodeReport, versions
from pipeline.doctor.resources import check_capacity, check_nodes, look_everywhere
from pipeline.experiments.assembly import build_job, select_tasks
from tests.pipeline.small_run import make_settings


def findings_of(settings: Any) -> dict[str, Finding]:
    job = build_job(settings, select_tasks(settings))
    return {finding.name: finding for finding in examine(settings, job)}


def test_all_is_well_and_nothing_is_left(ray_cluster: None, tiny_backbone: str, tmp_path: Path) -> None:
    found = findings_of(make_settings(tmp_path, tiny_backbone))
    assert {name: finding.ok for name, finding in found.items()} == dict.fromkeys(
        [
            "model", "tasks", "Ray", "nodes", "workers", "memory", "run.output_dir", "data.prepared_dir", "MLflow",
            "run directory", "one batch",
        ],
        True,
    )  # fmt: skip
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_every_fault_is_told_at_once(ray_cluster: None, tiny_backbone: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://me:secret@127.0.0.1:{probe.getsockname()[1]}"
    (tmp_path / "file").write_text("no folder")
    found = findings_of(
        make_settings(
            tmp_path,
            tiny_backbone,
            run={"output_dir": str(tmp_path / "file" / "runs"), "tracking_uri": dead},
            cluster={"num_workers": 3, "cpus_per_worker": 1.0},
        )
    )
    assert {name for name, finding in found.items() if finding.ok is False} == {
        "workers",
        "run.output_dir",
        "MLflow",
    }
    assert found["run directory"] == Finding.skipped("run directory", "MLflow")
    assert found["workers"].mend.startswith("use cluster.num_workers up to 1")
    assert "start the server" in found["MLflow"].mend
    assert "secret" not in str(found)
    assert found["one batch"].ok


def test_a_backbone_that_is_not_there_leaves_the_rest_to_be_looked_at(
    ray_cluster: None, tmp_path: Path
) -> None:
    found = findings_of(make_settings(tmp_path, str(tmp_path / "missing")))
    assert {name for name, finding in found.items() if finding.ok is False} == {"model", "tasks"}
    assert found["memory"].told == "skipped: needs the model"
    assert found["one batch"].ok is None


def test_a_node_looks_at_the_folders_it_is_given(ray_cluster: None, tmp_path: Path) -> None:
    (tmp_path / "mark").write_text("mark")
    reports, silent = look_everywhere([(str(tmp_path), "mark"), (str(tmp_path / "absent"), "mark")])
    [report] = reports.values()
    assert not silent
    assert report.versions == versions()
    assert report.folders[str(tmp_path)] == ""
    assert "is not there" in report.folders[str(tmp_path / "absent")]
    assert report.memory is None or report.memory > 0


def test_workers_that_a_grown_cluster_could_hold_are_no_fault(
    ray_cluster: None, tiny_backbone: str, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, tiny_backbone, cluster={"num_workers": 0})
    assert [finding.ok for finding in check_capacity(settings)] == [True]
    with pytest.raises(ValueError, match="no GPU here"):
        check_capacity(make_settings(tmp_path, tiny_backbone, cluster={"use_gpu": True}))


def test_nodes_with_other_versions_and_silent_ones_are_told() -> None:
    own = {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.0.0"}
    reports = {
        "a": NodeReport(own, None, ()),
        "b": NodeReport({**own, "torch": "2.12.0"}, None, ()),
    }
    silent, other = check_nodes(reports, {"c": "gives no answer in 120 s"}, own)
    assert (silent.ok, other.ok) == (False, False)
    assert "node c gives no answer" in silent.told
    assert other.told == "node b has torch 2.12.0; the driver has torch 2.13.0"
    assert [finding.ok for finding in check_nodes({"a": reports["a"]}, {}, own)] == [True]


def test_a_check_that_breaks_becomes_a_finding() -> None:
    def broken() -> list[Finding]:
        raise RuntimeError("all of it\nand more, see http://me:secret@host")

    def refused() -> list[Finding]:
        raise ValueError("x at http://me:secret@host:80 is wrong (reason: none): do this")

    [first], [second] = guarded("x", broken), guarded("x", refused)
    assert (first.ok, first.told) == (False, "RuntimeError: all of it")
    assert second == Finding("x", False, "x at http://***@host:80 is wrong (reason: none)", "do this")


def test_work_that_takes_too_long_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError, match=r"in 0\.1 s"):
        within(0.1, lambda: silent.accept())
    assert within(10, lambda: 3) == 3
    with pytest.raises(ValueError, match="told"):
        within(10, lambda: exec("raise ValueError('told')"))
