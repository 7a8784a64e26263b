"""Whether all nodes answer and have the driver's package versions; each reports its memory and folders.

Every node imports this module, so it does not import torch, which would cost each node seconds.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.doctor.finding import Finding
from pipeline.doctor.folders import folder_problem
from pipeline.errors import first_line

PACKAGES = ("ray", "torch", "transformers", "tokenizers", "pyarrow")
SECONDS = 120.0  # for all nodes to answer: each may first start a process and fetch the project


@dataclass(frozen=True)
class NodeReport:
    """The state of one node."""

    versions: Mapping[str, str]  # of Python and `PACKAGES`; "none" where a package is not installed
    memory: int | None  # available bytes of the machine; None where unknown
    gpus: tuple[int, ...] | None  # free bytes of each GPU; empty without one, None where unknown
    problems: Mapping[str, str] = field(default_factory=dict)  # {folder: result of `folder_problem`}


def inspect_node(folders: Sequence[tuple[str, str]]) -> NodeReport:
    """Reports on this machine and on `folders`: (folder or URI, name of the driver's probe in it)."""
    problems = {folder: folder_problem(folder, probe) for folder, probe in folders}
    return NodeReport(package_versions(), available_memory(), free_gpu_memory(), problems)


def package_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that have to match."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "none"
    return versions


def available_memory() -> int | None:
    """Returns the bytes that Linux can still give to processes."""
    try:
        match = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(match[1]) if match else None


def free_gpu_memory() -> tuple[int, ...] | None:
    """Returns the free bytes of each NVIDIA GPU. CUDA hides them from a Ray task without a GPU."""
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        return tuple(int(line) * 2**20 for line in output.split())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def alive_nodes() -> dict[str, dict[str, Any]]:
    """Returns Ray's description of each node that is up, by address and start of the id (hosts may run several)."""
    return {
        f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})": node for node in ray.nodes() if node["Alive"]
    }


def inspect_nodes(folders: Sequence[tuple[str, str]]) -> tuple[dict[str, NodeReport], dict[str, str]]:
    """Runs `inspect_node` on every node. Returns {node: report} and {node: why there is no report}."""
    task = ray.remote(num_cpus=0)(inspect_node)
    requests = {}
    for name, node in alive_nodes().items():
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        requests[task.options(scheduling_strategy=strategy).remote(folders)] = name
    done, late = ray.wait(list(requests), num_returns=len(requests), timeout=SECONDS)
    reports: dict[str, NodeReport] = {}
    failures = {requests[ref]: f"gives no answer in {SECONDS:g} s" for ref in late}
    for ref in done:
        try:
            reports[requests[ref]] = ray.get(ref)
        except ray.exceptions.RayError as error:
            reason = (str(error).strip() or first_line(error)).splitlines()[-1]  # the stack comes before
            failures[requests[ref]] = f"cannot run a task of this project ({reason})"
    for ref in late:
        ray.cancel(ref, force=True)
    return reports, failures


def check_nodes(
    reports: Mapping[str, NodeReport], failures: Mapping[str, str], driver: Mapping[str, str]
) -> list[Finding]:
    """Checks that all nodes answer and have the driver's versions. Takes what `inspect_nodes` returned."""
    remedy = (
        "see `ray status` and the node's logs; make the project available there "
        "(ray job submit --working-dir ., or install it), or remove the node"
    )
    findings = [Finding("nodes", False, f"node {node} {why}", remedy) for node, why in failures.items()]
    for node, report in reports.items():
        if different := [name for name in driver if report.versions[name] != driver[name]]:
            message = f"node {node} has {_list(report.versions, different)}; the driver has {_list(driver, different)}"
            findings.append(Finding("nodes", False, message, "install the same versions everywhere"))
    if reports and len(findings) == len(failures):
        where = "on the only node" if len(reports) == 1 else f"on all {len(reports)} nodes that answer"
        findings.append(
            Finding("nodes", True, f"{_list(driver, ('python', 'torch', 'transformers'))} {where}")
        )
    return findings


def _list(versions: Mapping[str, str], packages: Sequence[str]) -> str:
    return ", ".join(f"{name} {versions[name]}" for name in packages)
