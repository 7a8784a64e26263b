"""Communication between ranks, and the rank's device. Without a process group there is one rank."""

from typing import Any

import torch
import torch.distributed as dist

from pipeline.compat import cpu_has_bfloat16
from pipeline.sampling.arrays import Floats


def rank() -> int:
    """This process's rank; 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def all_reduce_sum(values: Floats, device: torch.device) -> Floats:
    """Sums an array over all ranks."""
    if world_size() == 1:
        return values
    tensor = torch.from_numpy(values).to(device)
    dist.all_reduce(tensor)
    return tensor.cpu().numpy()


def gather_objects(value: Any) -> list[Any] | None:
    """Every rank's value, in order of ranks, on rank 0; None on the others."""
    if world_size() == 1:
        return [value]
    gathered = [None] * world_size() if rank() == 0 else None
    dist.gather_object(value, gathered)
    return gathered


def broadcast_object(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_has_bfloat16()


def share(total: int, rank: int, world_size: int) -> int:
    """Number of a rank's rows when `total` rows are split evenly; the first ranks get the remainder."""
    return total // world_size + (rank < total % world_size)
