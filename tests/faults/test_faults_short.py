"""Faults that every change has to survive, a few seconds each, on the Ray of the tests.

`python -m tests.faults` injects all kinds many times, on nodes that can be lost.
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
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.train.v2.api.exceptions import WorkerGroupError

from pipeline.config import Settings
from pipeline.experiments.train import train
from pipeline.runs.events import read_events
from pipeline.runs.records import last_step, list_chunks
from tests.faults.environment import SmallDisk
from tests.faults.faults import TRAIN_WORKER
from tests.faults.same_run import curve_differences, curves, differences, parameters
from tests.faults.scripted_run import ScriptedRun
from tests.faults.servers import CREDENTIALS, SECRET_KEY, S3Server
from tests.faults.stored import checkpoints, files_with
from tests.mlflow_server import MlflowServer
from tests.pipeline.small_run import Finished, make_settings
from tests.processes import PROC, descendants_named

pytestmark = pytest.mark.skipif(not (PROC / "self" / "stat").exists(), reason="processes are found in /proc")


PAUSE = partial(time.sleep, 3)  # the length of an outage


def settings_like(finished: Finished, folder: Path, backbone: str, **sections: dict[str, Any]) -> Settings:
    """The settings of a finished run, for a run in another folder."""
    data = {"prepared_dir": str(finished.home / "prepared")}
    cluster = {"max_failures": -1, **sections.pop("cluster", {})}
    return make_settings(folder, backbone, data=data, cluster=cluster, **sections)


@contextmanager
def inject_at(run_dir: Path, step: int, *fault: Callable[[], None]) -> Iterator[None]:
    """Calls the parts of a fault in a thread when the run in the block has recorded a step, which must happen."""
    injected, ended = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            if any(int(chunk.name) >= step for chunk in list_chunks(run_dir)):
                injected.set()
                for part in fault:
                    part()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    assert injected.is_set(), f"the run ended before step {step} was recorded"


def kill_worker() -> None:
    os.kill(descendants_named(TRAIN_WORKER)[0], signal.SIGKILL)


def assert_equal_to(ray_run: Finished, settings: Settings, store: str = "") -> None:
    run_dir, expected = Path(settings.run.output_dir) / settings.run.name, ray_run.run_dir
    store, expected_store = store or str(run_dir / "checkpoints"), str(expected / "checkpoints")
    assert list(differences(run_dir, expected, store=store, expected_store=expected_store)) == []
    status, points = curves(settings.run.tracking_uri, run_dir)
    assert status == "FINISHED"
    undisturbed = curves(f"sqlite:///{ray_run.home}/ml.db", expected)[1]
    assert len(undisturbed) > 10
    assert list(curve_differences(points, undisturbed)) == []


def test_a_run_whose_worker_and_then_driver_are_killed_ends_as_if_undisturbed(
    ray_run: Finished, tmp_path: Path, tiny_backbone: str
) -> None:
    settings = settings_like(ray_run, tmp_path, tiny_backbone, cluster={"max_failures": 1})
    address = ray.get_runtime_context().gcs_address
    with contextlib.closing(ScriptedRun(settings, tmp_path, address)) as run:
        run.start()
        assert run.wait_for_step(3)  # the end of a round, after the checkpoint of step 2
        kill_worker()
        assert run.wait_for_step(9)
        run.kill()
        run.start()
        run.wait_for_end()
    assert_equal_to(ray_run, settings)
    events = read_events(run.run_dir)
    assert any(re.match(r"worker \d failed", event) for event in events), events
    assert any(re.match(r"training resumes from step \d+ with 2 workers again", e) for e in events), events


def test_a_run_whose_newest_checkpoint_is_damaged_resumes_from_the_one_before(
    ray_run: Finished, tmp_path: Path, tiny_backbone: str
) -> None:
    settings = settings_like(ray_run, tmp_path, tiny_backbone, cluster={"max_failures": 0})
    run_dir = tmp_path / "runs" / "run"
    with inject_at(run_dir, 6, kill_worker), pytest.raises(WorkerGroupError):
        train(settings, lambda _: None)
    recorded = last_step(run_dir)  # a run resumes only from steps that are recorded
    sealed = [each for each in checkpoints(str(run_dir / "checkpoints")) if each.is_sealed]
    newest = [each for each in sealed if each.step <= recorded][-1]
    newest.damage_weights(cut=False)
    lines: list[str] = []
    train(replace(settings, run=replace(settings.run, resume=str(run_dir))), lines.append)
    assert_equal_to(ray_run, settings)
    assert any(f"step-{newest.step:09d}" in line and "damaged" in line for line in lines), lines


def test_a_run_whose_bucket_is_away_for_seconds_loses_nothing_and_shows_no_key(
    ray_run: Finished, tmp_path: Path, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    home.mkdir()
    s3_server = S3Server(tmp_path)
    uri = s3_server.uri("runs")
    settings = settings_like(ray_run, home, tiny_backbone, cluster={"storage_path": uri})
    run_dir, lines, store = home / "runs" / "run", list[str](), uri.replace("/runs?", "/runs/run?")

    try:
        with inject_at(run_dir, 3, s3_server.gate.shut, PAUSE, s3_server.gate.open):
            train(settings, lines.append)
        assert_equal_to(ray_run, settings, store)
        assert yaml.safe_load((run_dir / "config.yaml").read_text())["cluster"]["storage_path"] == uri
        assert files_with(SECRET_KEY, str(home), store) == []
        assert SECRET_KEY not in str([lines, parameters(settings.run.tracking_uri, run_dir)])
    finally:
        s3_server.stop()


def test_a_run_whose_mlflow_server_restarts_has_every_step_of_its_curves(
    ray_run: Finished, mlflow_server: MlflowServer, tmp_path: Path, tiny_backbone: str
) -> None:
    run, cluster = {"tracking_uri": mlflow_server.uri}, {"num_workers": 0}
    settings = settings_like(ray_run, tmp_path, tiny_backbone, run=run, cluster=cluster)
    run_dir = tmp_path / "runs" / "run"
    with inject_at(run_dir, 3, mlflow_server.stop, mlflow_server.start):
        train(settings, lambda _: None)
    status, points = curves(mlflow_server.uri, run_dir)
    undisturbed = curves(f"sqlite:///{ray_run.home}/ml.db", ray_run.run_dir)[1]
    assert status == "FINISHED"
    assert set(points) == set(undisturbed)
    for key in points:
        if not key.startswith("train/loss/"):  # a task without rows in a round has no point there
            assert [step for step, _ in points[key]] == [step for step, _ in undisturbed[key]], key


def test_a_run_waits_for_room_on_its_disk(ray_run: Finished, tmp_path: Path, tiny_backbone: str) -> None:
    try:
        disk = SmallDisk(tmp_path / "disk")
    except LookupError as error:
        pytest.skip(str(error))
    run, cluster = {"output_dir": str(disk.path / "runs")}, {"num_workers": 0}
    settings = settings_like(ray_run, tmp_path, tiny_backbone, run=run, cluster=cluster)
    run_dir = disk.path / "runs" / "run"

    def fill() -> None:
        with contextlib.suppress(OSError):  # the run writes there too
            disk.fill(leave=0)

    try:
        with inject_at(run_dir, 3, fill, PAUSE, disk.make_room):
            train(settings, lambda _: None)
        events = read_events(run_dir)
        assert any(re.search(r"was [1-9]\d* s late: .*No space left", e) for e in events), events
        stored = checkpoints(str(run_dir / "checkpoints"))
        assert [problem for each in stored for problem in each.problems()] == []
    finally:
        disk.stop()
