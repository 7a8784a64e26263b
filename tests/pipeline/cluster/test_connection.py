"""A run that the cluster could never feed is refused before it hangs."""

import os
import subprocess
import sys
from typing import Any

import pytest
import ray

from pipeline.cluster import connection as cluster
from pipeline.sampling.ray_data import configure_ray_data


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Ray says that it has; tests change it."""
    there: dict[str, Any] = {"resources": {"CPU": 2.0}, "nodes": 1}
    monkeypatch.setattr(ray, "cluster_resources", lambda: there["resources"])
    monkeypatch.setattr(ray, "nodes", lambda: [{}] * there["nodes"])
    return there


@pytest.mark.parametrize(("workers", "cpus"), [(1, 0.5), (2, 0.5), (1, 1.0), ((1, 4), 1.0)])
def test_workers_that_leave_ray_data_a_cpu_may_start(
    machine: dict[str, Any], workers: Any, cpus: float
) -> None:
    cluster.check_resources(workers, cpus)


@pytest.mark.parametrize(
    ("workers", "cpus", "fitting"), [(2, 1.0, 1), (3, 0.5, 2), (1, 2.0, 0), ((2, 4), 1.0, 1)]
)
def test_workers_that_leave_it_none_are_refused(
    machine: dict[str, Any], workers: Any, cpus: float, fitting: int
) -> None:
    with pytest.raises(ValueError, match=f"Ray has 2: use cluster.num_workers up to {fitting}") as caught:
        cluster.check_resources(workers, cpus)
    assert "\n" not in str(caught.value)


def test_a_cluster_of_several_nodes_may_grow(machine: dict[str, Any]) -> None:
    machine["nodes"] = 2
    cluster.check_resources(8, 1.0)


def test_gpus_are_taken_where_they_are(machine: dict[str, Any]) -> None:
    assert cluster.wants_gpu("auto") is False
    assert cluster.wants_gpu(False) is False
    with pytest.raises(ValueError, match="Ray has no GPU here: set it to false or auto"):
        cluster.wants_gpu(True)
    machine["resources"]["GPU"] = 1.0
    assert cluster.wants_gpu("auto") is True
    assert cluster.wants_gpu(True) is True
    assert cluster.wants_gpu(False) is False


def test_gpus_may_be_asked_of_a_cluster_that_grows(machine: dict[str, Any]) -> None:
    machine["nodes"] = 3
    assert cluster.wants_gpu(True) is True


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore text")

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(
        ValueError, match=r"Ray at 10\.0\.0\.1:6379 cannot be reached .*RAY_AUTH_MODE"
    ) as caught:
        cluster.connect()
    assert "\n" not in str(caught.value)


def test_ray_data_is_quiet_over_many_short_executions(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ray.data.DataContext.get_current()
    monkeypatch.setattr(context, "enable_progress_bars", True)
    monkeypatch.setattr(context, "print_on_execution_start", True)
    configure_ray_data()
    assert context.enable_progress_bars is False
    assert context.print_on_execution_start is False


ASKED_IN_A_TASK = """
import ray
from ray.util.state import get_actor
from pipeline.cluster import connection as cluster

@ray.remote(num_cpus=0)
class Here:
    def name(self):
        return ray.get_runtime_context().get_actor_id()

@ray.remote(num_cpus=0)
def state_of(name):
    found = get_actor(name)
    return found and found.state

cluster.connect()
here = Here.remote()
print(ray.get(state_of.remote(ray.get(here.name.remote()))))
"""


def test_processes_of_a_ray_ask_that_one_for_its_state_whatever_else_runs_on_the_machine(
    ray_cluster: None,
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", ASKED_IN_A_TASK], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout.split() == ["ALIVE"], done.stderr[-2000:]
