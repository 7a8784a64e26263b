"""Fixtures for the tests of commands."""

from pathlib import Path

import pytest

from tests.jobs.refusal import ResourcesTakenError


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; connecting to Ray raises `ResourcesTakenError`."""

    def taken() -> None:
        raise ResourcesTakenError

    monkeypatch.setattr("pipeline.cluster.connection.connect", taken)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path
