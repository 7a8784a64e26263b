"""A run whose workers would never start or never get rows is refused."""

import os
import subprocess
import sys
from typing import Any

import pytest
import ray

from pipeline.cluster import connection


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Ray reports about itself; tests change it."""
    state: dict[str, Any] = {"resources": {"CPU": 2.0}, "nodes": 1}
    monkeypatch.setattr(ray, "cluster_resources", lambda: state["resources"])
    monkeypatch.setattr(ray, "nodes", lambda: [{}] * state["nodes"])
    return state


@pytest.mark.parametrize(
    ("nodes", "workers", "cpus", "fitting"),
    [
        (1, 1, 0.5, None),
        (1, 2, 0.5, None),
        (1, (1, 4), 1.0, None),
        (2, 8, 1.0, None),  # several nodes may grow
        (1, 2, 1.0, 1),
        (1, 3, 0.5, 2),
        (1, 1, 2.0, 0),
        (1, (2, 4), 1.0, 1),
    ],
)
def test_workers_have_to_leave_ray_data_a_cpu(
    machine: dict[str, Any], nodes: int, workers: Any, cpus: float, fitting: int | None
) -> None:
    machine["nodes"] = nodes
    if fitting is None:
        connection.check_resources(workers, cpus)
        return
    with pytest.raises(ValueError, match=f"Ray has 2: use cluster.num_workers up to {fitting}") as refusal:
        connection.check_resources(workers, cpus)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("nodes", "gpus", "use_gpu", "expected"),
    [
        (1, 0, "auto", False),
        (1, 0, False, False),
        (1, 0, True, None),
        (1, 1, "auto", True),
        (1, 1, True, True),
        (1, 1, False, False),
        (3, 0, True, True),  # several nodes may grow
    ],
)
def test_workers_take_gpus_where_the_cluster_has_them(
    machine: dict[str, Any], nodes: int, gpus: int, use_gpu: Any, expected: bool | None
) -> None:
    machine["nodes"], machine["resources"]["GPU"] = nodes, float(gpus)
    if expected is None:
        with pytest.raises(ValueError, match="Ray has no GPU here: set it to false or auto"):
            connection.wants_gpu(use_gpu)
    else:
        assert connection.wants_gpu(use_gpu) is expected


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore text")

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ValueError, match=r"Ray at 10\.0\.0\.1:6379 cannot be reached .*RAY_AUTH_MODE.*$"):
        connection.connect()


STATE_FROM_A_TASK = """
import ray
from ray.util.state import get_actor
from pipeline.cluster.connection import connect

@ray.remote(num_cpus=0)
class Actor:
    def actor_id(self):
        return ray.get_runtime_context().get_actor_id()

@ray.remote(num_cpus=0)
def state_of(actor_id):
    actor = get_actor(actor_id)
    return actor and actor.state

connect()
actor = Actor.remote()
print(ray.get(state_of.remote(ray.get(actor.actor_id.remote()))))
"""


def test_processes_ask_their_own_ray_for_its_state_beside_another_one(ray_cluster: None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-c", STATE_FROM_A_TASK]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["ALIVE"], done.stderr[-2000:]
