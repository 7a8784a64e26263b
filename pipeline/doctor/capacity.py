"""Whether the cluster has the CPUs, GPUs and memory that the run's workers need."""

from __future__ import annotations

from collections.abc import Mapping

import ray
import torch
from rich.filesize import decimal

from camtl import CaMtlModel
from pipeline.cluster import connection
from pipeline.config import Settings
from pipeline.doctor.finding import Finding
from pipeline.doctor.memory import rank_bytes
from pipeline.doctor.nodes import NodeReport, alive_nodes
from pipeline.training.distributed import has_bfloat16, share
from pipeline.training.job import TrainJob

REMEDY = (
    "raise train.gradient_accumulation, set train.gradient_checkpointing true, "
    "lower train.batch_size, sampler.pool or data.max_seq_length, use more workers or a smaller backbone, "
    "or end other programs there"
)


def check_workers(settings: Settings) -> list[Finding]:
    """Checks that there are CPUs and GPUs for the workers, and a CPU for Ray Data."""
    cluster = settings.cluster
    if cluster.num_workers == 0:
        return [Finding("workers", True, "none: training runs in the driver's process")]
    least = connection.fewest_workers(cluster.num_workers)
    use_gpu = connection.wants_gpu(cluster.use_gpu)
    connection.check_resources(cluster.num_workers, cluster.cpus_per_worker)
    total = {name: ray.cluster_resources().get(name, 0) for name in ("CPU", "GPU")}
    needed = {"CPU": least * cluster.cpus_per_worker, "GPU": least * use_gpu}
    message = f"{least} of {cluster.cpus_per_worker:g} CPUs{' and a GPU' if use_gpu else ''} each; "
    message += f"Ray has {total['CPU']:g} CPUs and {total['GPU']:g} GPUs"
    if needed["GPU"] > total["GPU"] and len(alive_nodes()) == 1:
        return [Finding("workers", False, message, "use fewer cluster.num_workers")]
    if any(needed[name] > total[name] for name in needed):  # a cluster of several nodes may grow on demand
        return [Finding("workers", None, f"{message}: the cluster has to grow")]
    return [Finding("workers", True, message)]


def check_memory(
    settings: Settings,
    job: TrainJob,
    model: CaMtlModel,
    encodings_per_row: float,
    reports: Mapping[str, NodeReport],
) -> list[Finding]:
    """Checks that each rank of the run fits into the free memory of the GPUs or of the machines."""
    cluster, train = settings.cluster, settings.train
    ranks = max(1, connection.fewest_workers(cluster.num_workers))  # fewer ranks have more rows each
    on_gpu = connection.wants_gpu(cluster.use_gpu) if cluster.num_workers else torch.cuda.is_available()
    # The driver's CPU stands for those of the other machines; GPUs have bfloat16.
    auto = on_gpu or has_bfloat16(torch.device("cpu"))
    needed = rank_bytes(
        model,
        rows=-(-share(job.batch_size, 0, ranks) // train.gradient_accumulation),
        candidates=share(job.mixture.candidates_per_step, 0, ranks) if job.selection.by_uncertainty else 0,
        encodings_per_row=encodings_per_row,
        max_seq_length=settings.data.max_seq_length,
        bfloat16=auto if train.precision == "auto" else train.precision == "bf16",
        on_gpu=on_gpu,
        gradient_checkpointing=train.gradient_checkpointing,
    )
    nodes = alive_nodes()
    devices: dict[str, tuple[int, int | None]] = {}
    for node, report in reports.items():
        resources = nodes[node]["Resources"]
        if on_gpu and resources.get("GPU"):
            for number, free in enumerate(report.gpus or [None]):
                devices[f"GPU {number} of node {node}"] = 1, free
        elif not on_gpu:
            # Ray knows a container's limit, which the machine's own count leaves out.
            limits = [int(limit) for limit in (report.memory, resources.get("memory")) if limit]
            most = min(ranks, int(resources.get("CPU", 0) / cluster.cpus_per_worker))
            devices[f"node {node}"] = most if cluster.num_workers else 1, min(limits, default=None)
    return compare_memory(needed, "GPU memory" if on_gpu else "memory", devices)


def compare_memory(needed: int, kind: str, devices: Mapping[str, tuple[int, int | None]]) -> list[Finding]:
    """Compares the bytes that a rank needs with {device: (most ranks on it, free bytes or None where unknown)}."""
    too_small, findings, known = [], [], []
    for device, (ranks, free) in devices.items():
        if free is None:
            message = f"free {kind} of {device} is unknown; a worker may need {decimal(needed)}"
            findings.append(Finding("memory", None, message))
        else:
            known.append(free)
            if free < ranks * needed:
                too_small.append(f"{device} has {decimal(free)} free for {ranks}")
    if too_small:
        message = f"a worker may need {decimal(needed)} of {kind}: {', '.join(too_small)}"
        findings.append(Finding("memory", False, message, REMEDY))
    elif known:
        message = f"a worker needs at most {decimal(needed)} of {kind}, each device has {decimal(min(known))} or more"
        findings.append(Finding("memory", True, f"{message} free"))
    return findings
