"""The command: what it prints and writes, and how it refuses."""

import sys
from pathlib import Path

import pytest

from jobs import compare
from tests.jobs.refusal import refusal
from tests.pipeline.experiments.logged_runs import log_run, make_results


def test_two_runs_are_printed_and_written(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{empty_folder}/mlflow.db"
    log_run(uri, "base", make_results(0, rte=60.0), empty_folder)
    log_run(uri, "none", make_results(0, rte=50.0), empty_folder)
    monkeypatch.setattr(sys, "argv", ["compare.py", "base", "none", "--output_dir", "out"])
    compare.main()
    printed = capsys.readouterr().out
    assert "variant=base" in printed
    assert "-10.00 over 1 shared seeds: too few" in printed
    written = {path.name for path in (empty_folder / "out").iterdir()}
    assert written == {"compare.md", "compare.csv", "compare_tests.csv", "compare.png"}


def test_wrong_arguments_are_one_line(empty_folder: Path) -> None:
    assert "give ids or names" in refusal(empty_folder, job=compare.main)
    assert "NAME=RUN" in refusal(empty_folder, "--name", "plain", job=compare.main)
    assert "no such file" in refusal(empty_folder, "run", job=compare.main)
    down = "http://me:secret@127.0.0.1:1"
    line = refusal(empty_folder, "run", "--tracking_uri", down, job=compare.main)
    assert "cannot be read (Connection refused" in line
    assert "secret" not in line
    (empty_folder / "file").write_text("")
    assert "--output_dir file/out cannot" in refusal(
        empty_folder, "run", "--output_dir", "file/out", job=compare.main
    )
