"""What a run needs to go on from a step: weights, optimiser, schedule, the sampler's state.

There is no state of random generators: every step seeds them from (seed, step, rank).
"""

import json
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
        ValueError: the checkpoint is of a run with another fingerprint; the error names what differs.
    """
    saved = json.loads((folder / STATE).read_text())
    for name, value in fingerprint.items():
        if saved["fingerprint"].get(name) != value:
            raise ValueError(
                f"checkpoint {folder} is of another run: {name} was {saved['fingerprint'].get(name)!r}, is {value!r}; "
                "resume with the settings it was made with"
            )
    stored = CaMtlModel.from_pretrained(folder / MODEL)
    model.load_state_dict(stored.state_dict())
    states = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(states["optimizer"])
    schedule.load_state_dict(states["schedule"])
    return SamplerState.from_dict(saved["sampler"])
