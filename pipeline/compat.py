"""Private and unstable APIs of libraries, each with the reason. No other file of the project uses them.

This module imports no Ray and no MLflow: packages that must run without them use it.
"""

from __future__ import annotations

import logging
from typing import Any

# Ray Data warns here "Progress bars disabled" at every execution although the job turned them off itself.
RAY_DATA_PROGRESS = logging.getLogger("ray.data._internal.progress")


def dataset_fingerprint(split: Any) -> str:
    """Returns the content fingerprint of a split of `datasets`.

    It derives from the repository's commit or the files' hashes and is equal on every machine. `datasets` has
    no public name for it.
    """
    fingerprint: str = split._fingerprint
    return fingerprint


def persist_checkpoint(context: Any, checkpoint: Any, name: str) -> Any:
    """Copies a local checkpoint to the storage of a Ray Train run and returns the stored checkpoint.

    `checkpoint_upload_fn` must store the checkpoint itself, and Ray's own upload is reachable only through
    `get_storage`, a developer API whose result belongs to `ray.train._internal`.

    Args:
        context: The worker's `ray.train.get_context()`.
        checkpoint: A `ray.train.Checkpoint` in a local folder.
        name: Folder of the checkpoint in the run's storage.
    """
    return context.get_storage().persist_current_checkpoint(checkpoint, name)


def cpu_has_bfloat16() -> bool:
    """Whether this CPU has bfloat16 instructions. PyTorch has no public query for that."""
    import torch  # not above: processes that prepare data use this module without torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
