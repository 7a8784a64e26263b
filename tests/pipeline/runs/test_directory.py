"""Run directories that are refused, and what is left of an earlier run of the same name."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.runs.directory import create_or_resume_run, validate_run
from tests.pipeline.small_run import make_settings


def test_an_output_folder_that_cannot_be_made_is_refused(tmp_path: Path, tiny_backbone: str) -> None:
    (tmp_path / "file").touch()
    settings = make_settings(tmp_path, tiny_backbone, run={"output_dir": str(tmp_path / "file" / "runs")})
    with pytest.raises(
        ValueError, match=r"run\.output_dir .*/file/runs cannot be written \(Not a directory\)"
    ):
        validate_run(settings)


def test_checkpoints_of_an_earlier_run_of_that_name_in_the_storage_are_not_gone_on_with(
    tmp_path: Path, tiny_backbone: str
) -> None:
    earlier = tmp_path / "storage" / "run" / "checkpoints"
    earlier.mkdir(parents=True)
    settings = make_settings(tmp_path, tiny_backbone, cluster={"storage_path": str(tmp_path / "storage")})
    with pytest.raises(
        ValueError, match=r"storage_path .* already holds a run 'run', .*--run\.overwrite true"
    ):
        create_or_resume_run(settings)
    create_or_resume_run(replace(settings, run=replace(settings.run, overwrite=True)))
    assert not earlier.exists()


def test_a_tracking_server_that_is_down_refuses_the_run_and_leaves_an_old_one_alone(
    tmp_path: Path, tiny_backbone: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    old = tmp_path / "runs" / "run"
    old.mkdir(parents=True)
    (old / "results.json").touch()
    settings = make_settings(tmp_path, tiny_backbone, run={"tracking_uri": uri, "overwrite": True})
    with pytest.raises(ValueError, match=uri) as caught:
        create_or_resume_run(settings)
    assert "\n" not in str(caught.value)
    assert (old / "results.json").exists()
