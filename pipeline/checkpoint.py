"""What a run needs to go on from a step: weights, optimiser, schedule, the sampler's state.

There is no state of random generators: every step seeds them from (seed, step, rank).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from camtl import CaMtlModel
from pipeline.sampler import SamplerState

MODEL, OPTIMIZER, STATE = "model", "optimizer.pt", "state.json"


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
    """
    model.save_pretrained(folder / MODEL)
    tokenizer.save_pretrained(folder / MODEL)
    torch.save({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, folder / OPTIMIZER)
    (folder / STATE).write_text(
        json.dumps({"sampler": state.to_dict(), "fingerprint": fingerprint}, indent=1)
    )


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
        differing = differences(saved["fingerprint"], fingerprint)
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


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
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
