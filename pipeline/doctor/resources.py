"""Whether the cluster can hold the run: nodes that answer and are alike, CPUs, GPUs, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from camtl import CaMtlModel
from pipeline.cluster import connection as cluster
from pipeline.config import Settings
from pipeline.doctor.finding import Finding
from pipeline.doctor.memory import check_gpus, check_hosts, estimate_bytes, shape_of
from pipeline.doctor.node import NodeReport, look
from pipeline.doctor.ray_access import alive
from pipeline.errors import first_line
from pipeline.training.distributed import has_bfloat16, share
from pipeline.training.job import TrainJob

SECONDS = 120.0  # for all nodes to answer: each may first have to start a process and fetch the project
Reports = Mapping[str, NodeReport]


def look_everywhere(
    folders: Sequence[tuple[str, str]], seconds: float = SECONDS
) -> tuple[dict[str, NodeReport], dict[str, str]]:
    """Every node's report, and why there is none: ({node: report}, {node: reason}), by name of the node."""
    task = ray.remote(num_cpus=0)(look)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            folders
        ): name_of(node)
        for node in alive()
    }
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=seconds)
    reports: dict[str, NodeReport] = {}
    silent = {asked[ref]: f"gives no answer in {seconds:g} s" for ref in late}
    for ref in done:
        try:
            reports[asked[ref]] = ray.get(ref)
        except ray.exceptions.RayError as error:
            silent[asked[ref]] = f"cannot run a task of this project ({last_line(error)})"
    for ref in late:
        ray.cancel(ref, force=True)
    return reports, silent


def name_of(node: Mapping[str, Any]) -> str:
    """A node by its address and the beginning of its id: several may be on one machine."""
    return f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"


def last_line(error: Exception) -> str:
    """Where Ray's errors of tasks say what happened; the lines before are the stack."""
    return (str(error).strip() or first_line(error)).splitlines()[-1]


def check_nodes(reports: Reports, silent: Mapping[str, str], own: Mapping[str, str]) -> list[Finding]:
    """Whether all nodes answer, and have the driver's versions.

    Args:
        reports: Of the nodes that answered.
        silent: {node: why it did not}.
        own: The driver's versions.
    """
    findings = [
        Finding(
            "nodes",
            False,
            f"node {node} {why}",
            "look at `ray status` and the node's logs; have the project there "
            "(ray job submit --working-dir ., or installed), or take the node out",
        )
        for node, why in silent.items()
    ]
    other = [
        f"node {node} has {name} {version}"
        for node, report in reports.items()
        for name, version in report.versions.items()
        if version != own[name]
    ]
    if other:
        wanted = ", ".join(
            f"{name} {own[name]}" for name in own if any(f" {name} " in told for told in other)
        )
        findings.append(
            Finding(
                "nodes", False, f"{', '.join(other)}; the driver has {wanted}", "install the same everywhere"
            )
        )
    elif reports:
        told = ", ".join(f"{name} {own[name]}" for name in ("python", "torch", "transformers"))
        where = "on the only node" if len(reports) == 1 else f"on all {len(reports)} nodes that answer"
        findings.append(Finding("nodes", True, f"{told} {where}"))
    return findings


def check_capacity(settings: Settings) -> list[Finding]:
    """Whether there are CPUs and GPUs for the workers, and a CPU for Ray Data beside them."""
    wanted = settings.cluster
    if wanted.num_workers == 0:
        return [Finding("workers", True, "none: the training runs in the driver's own process")]
    use_gpu = cluster.wants_gpu(wanted.use_gpu)
    cluster.check_resources(wanted.num_workers, wanted.cpus_per_worker)
    there, least = ray.cluster_resources(), fewest_workers(settings)
    gpus = there.get("GPU", 0)
    short = [
        f"{least * need:g} {name}s for {least} workers, Ray has {there.get(name, 0):g}"
        for name, need in (("CPU", wanted.cpus_per_worker), ("GPU", float(use_gpu)))
        if least * need > there.get(name, 0)
    ]
    if short and use_gpu and least > gpus and len(alive()) == 1:
        raise ValueError(f"needed are {', '.join(short)}: use fewer cluster.num_workers")
    told = f"{least} of {wanted.cpus_per_worker:g} CPUs{' and a GPU' if use_gpu else ''} each"
    if short:  # judged as a run judges it: such a cluster may be one that grows on demand
        return [Finding("workers", None, f"{told}; the cluster has to grow: needed are {', '.join(short)}")]
    return [Finding("workers", True, f"{told}; {there.get('CPU', 0):g} CPUs and {gpus:g} GPUs are there")]


def check_memory(
    settings: Settings, job: TrainJob, model: CaMtlModel, encodings_per_row: float, reports: Reports
) -> list[Finding]:
    """Whether a rank of this run fits into the memory that is free, on GPUs or on the machines."""
    ranks = max(1, fewest_workers(settings))
    wanted, train = settings.cluster, settings.train
    on_gpu = torch.cuda.is_available() if wanted.num_workers == 0 else cluster.wants_gpu(wanted.use_gpu)
    rows = share(job.batch_size, 0, ranks)
    # What another machine's processor has cannot be asked here; GPUs have bfloat16.
    auto = on_gpu or has_bfloat16(torch.device("cpu"))
    needed = estimate_bytes(
        shape_of(model),
        rows=-(-rows // train.gradient_accumulation),
        candidates=share(job.mixture.candidates_per_step, 0, ranks) if job.selection.by_uncertainty else 0,
        encodings_per_row=encodings_per_row,
        max_seq_length=settings.data.max_seq_length,
        bfloat16=auto if train.precision == "auto" else train.precision == "bf16",
        on_gpu=on_gpu,
        gradient_checkpointing=train.gradient_checkpointing,
    ).total
    resources = {name_of(node): node["Resources"] for node in alive()}
    if on_gpu:
        return check_gpus(
            needed, {node: found.gpus for node, found in reports.items() if resources[node].get("GPU")}
        )
    holds = {
        node: min(ranks, int(has.get("CPU", 0) / wanted.cpus_per_worker)) if wanted.num_workers else 1
        for node, has in resources.items()
    }
    # Ray keeps to the limits of a container, which the machine's own count does not know.
    limits = {
        node: [limit for limit in (found.memory, resources[node].get("memory")) if limit]
        for node, found in reports.items()
    }
    free = {node: int(min(known)) for node, known in limits.items() if known}
    return check_hosts(needed, holds, free)


def fewest_workers(settings: Settings) -> int:
    """The workers that a run begins with at least; fewer make more rows for each."""
    workers = settings.cluster.num_workers
    return workers if isinstance(workers, int) else workers[0]
