"""All checks together on a real Ray; a failure in one does not stop another."""

import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline.doctor.capacity import check_workers
from pipeline.doctor.examination import Examination
from pipeline.doctor.finding import Finding, call_with_timeout
from pipeline.doctor.nodes import NodeReport, check_nodes
from pipeline.experiments.assembly import build_job, select_tasks
from tests.pipeline.small_run import make_settings


def findings_of(settings: Any) -> dict[str, Finding]:
    job = build_job(settings, select_tasks(settings))
    return {finding.name: finding for finding in Examination(settings, job).run()}


def test_all_failures_are_found_at_once(ray_cluster: None, tiny_backbone: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    run = {"output_dir": str(tmp_path / "file" / "runs"), "tracking_uri": "http://me:secret@127.0.0.1:1"}
    cluster = {"num_workers": 3, "cpus_per_worker": 1.0}
    findings = findings_of(make_settings(tmp_path, tiny_backbone, run=run, cluster=cluster))
    failed = {name for name, finding in findings.items() if finding.ok is False}
    assert failed == {"workers", "run.output_dir", "MLflow"}
    assert findings["run directory"] == Finding("run directory", None, "skipped: needs MLflow")
    assert findings["workers"].remedy.startswith("use cluster.num_workers up to 1")
    assert "secret" not in str(findings)
    assert findings["one batch"].ok


def test_without_ray_and_a_backbone_the_other_checks_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pipeline.doctor.examination.check_ray", lambda: [Finding("Ray", False, "refused")])
    findings = findings_of(make_settings(tmp_path, str(tmp_path / "missing")))
    assert {name for name, finding in findings.items() if finding.ok is False} == {"model", "tasks", "Ray"}
    skipped = {name for name, finding in findings.items() if finding.message == "skipped: needs Ray"}
    assert skipped == {"nodes", "workers", "memory"}
    assert findings["one batch"].message == "skipped: needs the model"
    assert findings["run.output_dir"].ok


def test_a_run_without_workers_needs_no_cpus_of_ray(tmp_path: Path) -> None:
    assert [f.ok for f in check_workers(make_settings(tmp_path, "x", cluster={"num_workers": 0}))] == [True]


def test_nodes_with_other_versions_or_without_an_answer_fail() -> None:
    driver = {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.0.0"}
    same = NodeReport(driver, None, ())
    other = NodeReport({**driver, "torch": "2.12.0"}, None, ())
    silent, different = check_nodes({"a": same, "b": other}, {"c": "gives no answer in 120 s"}, driver)
    assert (silent.ok, different.ok) == (False, False)
    assert silent.message == "node c gives no answer in 120 s"
    assert different.message == "node b has torch 2.12.0; the driver has torch 2.13.0"


def test_an_exception_becomes_a_finding_without_passwords() -> None:
    error = RuntimeError("one\nand more")
    assert Finding.of_error("x", error) == Finding("x", False, "RuntimeError: one", "see what this names")
    found = Finding.of_error("x", ValueError("http://me:secret@host:80 is wrong (reason: none): do this"))
    assert found == Finding("x", False, "http://***@host:80 is wrong (reason: none)", "do this")


def test_a_call_that_takes_too_long_is_abandoned() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError, match=r"in 0\.1 s"):
        call_with_timeout(0.1, silent.accept)
