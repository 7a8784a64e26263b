"""What a run needs to go on from a step: weights, optimiser, schedule, the sampler's state, the scores.

There is no state of random generators: every step seeds them from (seed, step, rank). The last file of a
checkpoint is its manifest, which tells size and SHA-256 of all others: with it a checkpoint is whole.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from camtl import CaMtlModel
from pipeline.errors import first_line
from pipeline.sampling.state import SamplerState

MODEL, OPTIMIZER, STATE, MANIFEST = "model", "optimizer.pt", "state.json", "manifest.json"
NOT_EVALUATED = -101.0  # in place of an average, and below any: metrics lie in -100 to 100


class DamagedCheckpointError(ValueError):
    """A checkpoint that is not whole, or not what was saved; the message names the file."""


def save_checkpoint(
    folder: Path,
    *,
    model: CaMtlModel,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: Optimizer,
    schedule: LambdaLR,
    state: SamplerState,
    fingerprint: dict[str, Any],
) -> None:
    """Write a checkpoint into an empty folder; the caller gives it its name when it is whole.

    Args:
        folder: empty folder.
        model, tokenizer: go into `model/`, which `CaMtlModel.from_pretrained` loads.
        optimizer, schedule: their states.
        state: where the sampler stands.
        fingerprint: what must be the same in the run that goes on (tasks, sizes, seed, batch size …).

    Raises:
        OSError: the folder cannot be written, for want of room say; what lies in it is of no use.
    """
    states = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    try:
        model.save_pretrained(folder / MODEL)
        tokenizer.save_pretrained(folder / MODEL)
        torch.save(states, folder / OPTIMIZER)
    except (SafetensorError, RuntimeError) as error:  # theirs for a full disk
        raise OSError(f"{folder} cannot be written: {first_line(error)}") from error
    (folder / STATE).write_text(
        json.dumps({"sampler": state.to_dict(), "fingerprint": fingerprint}, indent=1)
    )


def seal(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Complete a checkpoint's folder with its manifest.

    Args:
        folder: of `save_checkpoint`.
        metrics: what was reported with it (`step`, `average`, `scores` …); JSON.
    """
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    (folder / MANIFEST).write_text(json.dumps({"metrics": dict(metrics), "files": files}, indent=1))


def verify(folder: Path) -> None:
    """Read every file of a sealed checkpoint and compare it with the manifest.

    Raises:
        DamagedCheckpointError: a file is missing, cut short or changed, or there is no manifest.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpointError(
            f"{MANIFEST} cannot be read ({type(error).__name__}: {error})"
        ) from error
    for name, told in files.items():
        path = folder / name
        if not path.is_file():
            raise DamagedCheckpointError(f"{name} is missing")
        if path.stat().st_size != told["bytes"]:
            raise DamagedCheckpointError(f"{name} has {path.stat().st_size} of {told['bytes']} bytes")
        if _sha256(path) != told["sha256"]:
            raise DamagedCheckpointError(f"{name} is not what was saved (its SHA-256 differs)")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_checkpoint(
    folder: Path,
    *,
    model: CaMtlModel,
    optimizer: Optimizer,
    schedule: LambdaLR,
    fingerprint: dict[str, Any],
) -> SamplerState:
    """Restore model, optimiser and schedule in place.

    Returns:
        Where the sampler stood.

    Raises:
        ValueError: the checkpoint's state cannot be read, or is of a run with another fingerprint; the
            error names what differs. Nothing was restored.
    """
    try:
        saved = json.loads((folder / STATE).read_text())
        state = SamplerState.from_dict(saved["sampler"])
        differing = fingerprint_differences(saved["fingerprint"], fingerprint)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"checkpoint {folder} has no {STATE} that can be read ({type(error).__name__}: {error}): "
            "restore it, or start anew with --run.overwrite true"
        ) from error
    if differing:
        raise ValueError(
            f"checkpoint {folder} is of another run: {', '.join(differing)}; resume with the settings it was made with"
        )
    stored = CaMtlModel.from_pretrained(folder / MODEL)
    model.load_state_dict(stored.state_dict())
    states = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(states["optimizer"])
    schedule.load_state_dict(states["schedule"])
    return state


def fingerprint_differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What a run has other than the one that was saved, a clause for each value.

    Args:
        saved, now: fingerprints (`TrainJob.fingerprint`), the first one out of JSON.
    """
    before, after = (dict(zip(which["tasks"], which["sizes"], strict=True)) for which in (saved, now))
    told = [f"task {task!r} is gone" for task in before if task not in after]
    told += [f"task {task!r} is new" for task in after if task not in before]
    if not told and list(before) != list(after):
        told.append(f"tasks were {list(before)}, are {list(after)}")
    told += [
        f"task {task!r} had {before[task]} rows, has {rows}"
        for task, rows in after.items()
        if before.get(task, rows) != rows
    ]
    for name in [name for name in now if name not in ("tasks", "sizes")]:
        told += _other(name, saved.get(name), now[name])
    return told


def _other(name: str, saved: Any, now: Any) -> list[str]:
    if isinstance(saved, Mapping) and isinstance(now, Mapping):
        keys = [*now, *(key for key in saved if key not in now)]
        return [clause for key in keys for clause in _other(f"{name}.{key}", saved.get(key), now.get(key))]
    return [] if saved == now else [f"{name} was {saved!r}, is {now!r}"]
