"""`cluster.yaml` is accepted by `ray up`, and its costs are bounded."""

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config  # the checks of `ray up`

ROOT = Path(__file__).parents[1]


@pytest.fixture
def cluster() -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    assert isinstance(config, dict)
    return config


def test_ray_accepts_it(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(cluster))


@pytest.mark.parametrize(("key", "value"), [("max_worker", 4), ("max_workers", "four")])
def test_ray_refuses_a_misspelt_key_or_value(cluster: dict[str, Any], key: str, value: object) -> None:
    broken = copy.deepcopy(cluster)
    broken[key] = value
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(broken))


def test_gpu_workers_are_spot_nodes_with_bounded_cost(cluster: dict[str, Any]) -> None:
    head = cluster["head_node_type"]
    workers = {name: node for name, node in cluster["available_node_types"].items() if name != head}
    assert workers
    for node in workers.values():
        assert node["min_workers"] == 0
        assert 0 < node["max_workers"] <= cluster["max_workers"]
        assert node["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in cluster["available_node_types"][head]["node_config"]
    assert cluster["idle_timeout_minutes"] <= 15


def test_nodes_install_the_project_under_its_own_constraints(cluster: dict[str, Any]) -> None:
    (project,) = [remote for remote, local in cluster["file_mounts"].items() if local == "."]
    assert any(
        project in command and "--constraint constraints.txt" in command
        for command in cluster["setup_commands"]
    )
    for command in (cluster["head_start_ray_commands"][-1], cluster["worker_start_ray_commands"][-1]):
        assert command.startswith(f"cd {project} ")


def test_images_hold_the_ray_of_the_constraints(cluster: dict[str, Any]) -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned
    for image in (cluster["docker"]["head_image"], cluster["docker"]["worker_image"]):
        assert image.startswith(f"rayproject/ray:{pinned[1]}-")
