"""Faults that every change has to survive: a few seconds each, on the Ray of the tests.

`python -m tests.faults` has all of them, many times over and on nodes that can be lost.
"""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.train.v2.api.exceptions import WorkerGroupError

from pipeline.config import Settings
from pipeline.experiments.train import train
from pipeline.runs.events import read_events
from pipeline.runs.records import last_step, list_chunks
from tests.faults.faults import TRAIN_WORKER
from tests.faults.place import SmallDisk
from tests.faults.same_run import curve_differences, curves, differences, parameters, shown_secrets
from tests.faults.servers import CREDENTIALS, SECRET_KEY, S3Server
from tests.faults.stored import checkpoints
from tests.mlflow_server import MlflowServer
from tests.pipeline.small_run import Finished, make_settings
from tests.processes import PROC, started_here

pytestmark = pytest.mark.skipif(not (PROC / "self" / "stat").exists(), reason="processes are found in /proc")


@pytest.fixture
def s3_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A running S3-compatible server, for whose bucket this process and the workers have the key."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server = S3Server(tmp_path)
    yield server
    server.stop()


def settings_like(finished: Finished, folder: Path, backbone: str, **sections: dict[str, Any]) -> Settings:
    """The settings of a finished run, for a run in another folder."""
    data = {"prepared_dir": str(finished.home / "prepared")}
    cluster = {"max_failures": -1, **sections.pop("cluster", {})}
    return make_settings(folder, backbone, data=data, cluster=cluster, **sections)


@contextmanager
def meanwhile(run_dir: Path, step: int, strike: Callable[[], None]) -> Iterator[None]:
    """Calls `strike` when the run in the block has recorded a step; it must still go on then."""
    struck, over = list[bool](), threading.Event()

    def watch() -> None:
        while not over.is_set():
            if any(int(chunk.name) >= step for chunk in list_chunks(run_dir)):
                struck.append(True)
                strike()
                return
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert struck, f"the run ended before step {step} was recorded"


def kill_a_worker() -> None:
    os.kill(started_here(TRAIN_WORKER)[0], signal.SIGKILL)


def assert_nothing_is_lost(settings: Settings, ray_run: Finished, store: str = "") -> None:
    run_dir, expected = Path(settings.run.output_dir) / settings.run.name, ray_run.run_dir
    told = differences(
        run_dir,
        expected,
        store=store or str(run_dir / "checkpoints"),
        expected_store=str(expected / "checkpoints"),
    )
    assert list(told) == []
    status, drawn = curves(settings.run.tracking_uri, run_dir)
    assert status == "FINISHED"
    undisturbed = curves(f"sqlite:///{ray_run.home}/ml.db", expected)[1]
    assert len(undisturbed) > 10
    assert list(curve_differences(drawn, undisturbed)) == []


def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(
    ray_run: Finished, tmp_path: Path, tiny_backbone: str
) -> None:
    settings = settings_like(ray_run, tmp_path, tiny_backbone, cluster={"max_failures": 0})
    run_dir = tmp_path / "runs" / "run"
    with meanwhile(run_dir, 6, kill_a_worker), pytest.raises(WorkerGroupError):
        train(settings, lambda _: None)
    recorded = last_step(run_dir)  # of what came later nobody was told, so nobody would go on from it
    sealed = [found for found in checkpoints(str(run_dir / "checkpoints")) if found.is_sealed]
    newest = [found for found in sealed if found.step <= recorded][-1]
    newest.damage_weights(cut=False)
    lines: list[str] = []
    train(replace(settings, run=replace(settings.run, resume=str(run_dir))), lines.append)
    assert_nothing_is_lost(settings, ray_run)
    assert any(f"step-{newest.step:09d}" in line and "damaged" in line for line in lines), lines


def test_a_run_whose_bucket_is_away_for_some_seconds_loses_nothing_and_shows_no_key(
    ray_run: Finished, s3_server: S3Server, tmp_path: Path, tiny_backbone: str
) -> None:
    uri = s3_server.uri("runs")
    settings = settings_like(ray_run, tmp_path / "of-run", tiny_backbone, cluster={"storage_path": uri})
    (tmp_path / "of-run").mkdir()
    run_dir, lines = tmp_path / "of-run" / "runs" / "run", list[str]()

    def shut_for_a_while() -> None:
        s3_server.gate.shut()
        time.sleep(3)  # how long it is away; nothing waits for this
        s3_server.gate.open()

    with meanwhile(run_dir, 3, shut_for_a_while):
        train(settings, lines.append)
    store = uri.replace("/runs?", "/runs/run?")
    assert_nothing_is_lost(settings, ray_run, store)
    assert yaml.safe_load((run_dir / "config.yaml").read_text())["cluster"]["storage_path"] == uri
    folders = {"files": str(tmp_path / "of-run"), "checkpoints": store}
    assert list(shown_secrets(SECRET_KEY, folders)) == []
    assert SECRET_KEY not in str([lines, parameters(settings.run.tracking_uri, run_dir)])


def test_a_run_whose_mlflow_server_is_killed_and_comes_back_has_every_step_of_its_curves(
    ray_run: Finished, mlflow_server: MlflowServer, tmp_path: Path, tiny_backbone: str
) -> None:
    settings = settings_like(ray_run, tmp_path, tiny_backbone, run={"tracking_uri": mlflow_server.uri})

    def restart() -> None:
        mlflow_server.stop()
        mlflow_server.start()

    with meanwhile(tmp_path / "runs" / "run", 3, restart):
        train(settings, lambda _: None)
    assert_nothing_is_lost(settings, ray_run)


def test_a_run_in_the_drivers_process_waits_for_room_on_its_disk(
    ray_cluster: None, tmp_path: Path, tiny_backbone: str
) -> None:
    try:
        disk = SmallDisk(tmp_path / "disk")
    except LookupError as error:
        pytest.skip(str(error))
    settings = make_settings(
        tmp_path,
        tiny_backbone,
        run={"output_dir": str(disk.path / "runs")},
        cluster={"num_workers": 0},
    )
    run_dir = disk.path / "runs" / "run"

    def fill_for_a_while() -> None:
        with contextlib.suppress(OSError):  # the run writes there too
            disk.fill(leave=0)
        time.sleep(3)  # how long it is full; nothing waits for this
        disk.make_room()

    try:
        with meanwhile(run_dir, 3, fill_for_a_while):
            train(settings, lambda _: None)
        told = read_events(run_dir)
        assert any(re.search(r"of step \d+ was [1-9]\d* s late: .*No space left", line) for line in told), (
            told
        )
        found = checkpoints(str(run_dir / "checkpoints"))
        assert [problem for one in found for problem in one.problems()] == []
    finally:
        disk.stop()
