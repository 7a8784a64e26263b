"""The files of a checkpoint: weights, optimizer, learning-rate schedule, sampler state and fingerprint.

No random state is stored: every step seeds its generators from (seed, step, rank). The manifest is written last and
holds the size and SHA-256 of every other file, so a folder with an intact manifest is a complete checkpoint.
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
NOT_EVALUATED = -101.0  # a missing average, which sorts below every other: metrics lie in -100 to 100


class DamagedCheckpointError(ValueError):
    """A checkpoint is incomplete or differs from what was saved; the message names the file."""


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
    """Writes a checkpoint without its manifest into an empty folder.

    Model and tokenizer go into `model/`, which `CaMtlModel.from_pretrained` loads. `fingerprint` holds what must not
    change when the run is resumed (tasks, sizes, seed, batch size …).

    Raises:
        OSError: the folder cannot be written, for example on a full disk; its content is then unusable.
    """
    states = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    try:
        model.save_pretrained(folder / MODEL)
        tokenizer.save_pretrained(folder / MODEL)
        torch.save(states, folder / OPTIMIZER)
    except (SafetensorError, RuntimeError) as error:  # raised on a full disk
        raise OSError(f"{folder} cannot be written: {first_line(error)}") from error
    content = {"sampler": state.to_dict(), "fingerprint": fingerprint}
    (folder / STATE).write_text(json.dumps(content, indent=1))


def load_checkpoint(
    folder: Path,
    *,
    model: CaMtlModel,
    optimizer: Optimizer,
    schedule: LambdaLR,
    fingerprint: dict[str, Any],
) -> SamplerState:
    """Restores model, optimizer and schedule in place; returns the saved sampler state.

    Raises:
        ValueError: the state file cannot be read, or its fingerprint differs (the message lists the differences).
            Nothing is restored then.
    """
    try:
        saved = json.loads((folder / STATE).read_text())
        state = SamplerState.from_dict(saved["sampler"])
        differing = fingerprint_differences(saved["fingerprint"], fingerprint)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"checkpoint {folder}: {STATE} cannot be read ({type(error).__name__}: {error}): "
            "restore the file, or start again with --run.overwrite true"
        ) from error
    if differing:
        raise ValueError(
            f"checkpoint {folder} belongs to another run: {', '.join(differing)}; resume with the saved settings"
        )
    model.load_state_dict(CaMtlModel.from_pretrained(folder / MODEL).state_dict())
    states = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(states["optimizer"])
    schedule.load_state_dict(states["schedule"])
    return state


def fingerprint_differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """The differences of two fingerprints (`TrainJob.fingerprint`), the first one read from JSON, in words."""
    before, after = (dict(zip(one["tasks"], one["sizes"], strict=True)) for one in (saved, current))
    clauses = [f"task {task!r} was removed" for task in before if task not in after]
    clauses += [f"task {task!r} was added" for task in after if task not in before]
    if not clauses and list(before) != list(after):
        clauses.append(f"tasks were {list(before)}, are {list(after)}")
    for task, rows in after.items():
        if before.get(task, rows) != rows:
            clauses.append(f"task {task!r} had {before[task]} rows, has {rows}")
    for name in current:
        if name not in ("tasks", "sizes"):
            clauses += _value_differences(name, saved.get(name), current[name])
    return clauses


def _value_differences(name: str, saved: Any, current: Any) -> list[str]:
    if not (isinstance(saved, Mapping) and isinstance(current, Mapping)):
        return [] if saved == current else [f"{name} was {saved!r}, is {current!r}"]
    keys = dict.fromkeys([*current, *saved])
    pairs = [(f"{name}.{key}", saved.get(key), current.get(key)) for key in keys]
    return [clause for pair in pairs for clause in _value_differences(*pair)]


def seal(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Completes the folder of `save_checkpoint` with its manifest; `metrics` (`step`, `average` …) go into it."""
    files = {
        name: {"bytes": size, "sha256": _sha256(folder / name)}
        for name, size in _file_sizes(folder).items()
        if name != MANIFEST
    }
    (folder / MANIFEST).write_text(json.dumps({"metrics": dict(metrics), "files": files}, indent=1))


def verify(folder: Path) -> None:
    """Reads every file of a sealed checkpoint and compares it with the manifest.

    Raises:
        DamagedCheckpointError: the manifest is unreadable, or a file is missing, truncated or changed.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        problem = find_size_problem(files, _file_sizes(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DamagedCheckpointError(f"{MANIFEST} cannot be read ({reason})") from error
    if problem:
        raise DamagedCheckpointError(problem)
    for name in files:
        if _sha256(folder / name) != files[name]["sha256"]:
            raise DamagedCheckpointError(f"{name} differs from what was saved (SHA-256)")


def find_size_problem(files: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """The first of the manifest's `files` that is missing or has the wrong size, in words; empty without any."""
    for name in files:
        if name not in sizes:
            return f"{name} is missing"
        if sizes[name] != files[name]["bytes"]:
            return f"{name} has {sizes[name]} of {files[name]['bytes']} bytes"
    return ""


def _file_sizes(folder: Path) -> dict[str, int]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
