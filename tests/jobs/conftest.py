"""What the tests of commands share."""

from pathlib import Path

import pytest

from tests.jobs.refusal import ResourcesTakenError


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which Ray must not be reached."""

    def taken() -> None:
        raise ResourcesTakenError

    monkeypatch.setattr("pipeline.cluster.connection.connect", taken)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path
