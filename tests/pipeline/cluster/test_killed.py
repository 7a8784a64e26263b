"""The real job, stopped hard: it goes on to the same rows and the same weights as if nothing had happened."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
import yaml
from safetensors.torch import load_file

from pipeline.config import Settings
from pipeline.experiments.train import train
from pipeline.runs.checkpoints.store import CheckpointStore
from pipeline.runs.records import list_chunks
from tests.pipeline.small_run import STEPS, Finished, make_settings
from tests.processes import PROC, started_here

ROOT = Path(__file__).parents[3]
KILLED_AT = (3, 9)  # ends of rounds; the checkpoints before them are of steps 2 and 8, mid-round
TITLE = b"ray::RayTrainWorker"
pytestmark = pytest.mark.skipif(not (PROC / "self" / "stat").exists(), reason="processes are found in /proc")


def settings_of(finished: Finished, folder: Path, backbone: str, **cluster: Any) -> Settings:
    """The settings of a finished run, for a run in another folder."""
    data = {"prepared_dir": str(finished.home / "prepared")}
    return make_settings(folder, backbone, data=data, cluster=cluster)


def assert_same_run(found: Path, expected: Path) -> None:
    for name in ("mix.parquet", "rows.parquet"):
        assert pq.read_table(found / name).equals(pq.read_table(expected / name)), name
    for part in (newest_checkpoint, Path):  # the last step's weights, and the best ones
        left, right = (
            load_file(part(run_dir) / "model" / "model.safetensors") for run_dir in (found, expected)
        )
        assert set(left) == set(right)
        assert all(left[name].equal(right[name]) for name in left)


def newest_checkpoint(run_dir: Path) -> Path:
    return Path(CheckpointStore(str(run_dir / "checkpoints")).checkpoints()[-1].path)


def wait_for_step(run_dir: Path, step: int, running: Callable[[], bool]) -> None:
    """Until a run has recorded a step; it must still run then, or nothing is stopped."""
    while not any(int(chunk.name) >= step for chunk in list_chunks(run_dir)):
        assert running(), f"the run ended before step {step}"
        time.sleep(0.01)
    assert running()


def test_a_run_whose_workers_are_killed_ends_as_if_they_had_not_been(
    ray_run: Finished, tmp_path: Path, tiny_backbone: str
) -> None:
    settings = settings_of(ray_run, tmp_path, tiny_backbone, max_failures=len(KILLED_AT))
    run_dir, killed, over = tmp_path / "runs" / "run", [], threading.Event()

    def kill() -> None:
        for step, place in zip(KILLED_AT, (0, -1), strict=True):
            wait_for_step(run_dir, step, lambda: not over.is_set())
            worker = started_here(TITLE)[place]
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        train(settings, lambda _: None)
    finally:
        over.set()
        killer.join()
    assert len(set(killed)) == len(KILLED_AT)
    assert_same_run(run_dir, ray_run.run_dir)


def test_a_run_whose_driver_is_killed_and_resumed_ends_as_if_it_had_not_been(
    ray_run: Finished, tmp_path: Path, tiny_backbone: str
) -> None:
    run_dir, config = tmp_path / "runs" / "run", tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(asdict(settings_of(ray_run, tmp_path, tiny_backbone))))
    arguments = ["--config", str(config)]
    for step in KILLED_AT:
        driver = start(arguments)
        wait_for_step(run_dir, step, lambda driver=driver: driver.poll() is None)  # type: ignore[misc]
        driver.kill()
        driver.wait()
        arguments = ["--run.resume", str(run_dir)]
    output, _ = start(arguments).communicate()
    assert f"evaluated at step {STEPS}" in output, output
    assert_same_run(run_dir, ray_run.run_dir)


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """The job as a user starts it, on the Ray of the tests."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / "train_mtl.py"), *arguments],
        env={**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
