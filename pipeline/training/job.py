"""What every rank of a training run is told."""

import json
from dataclasses import asdict, dataclass
from typing import Any, cast

from pipeline.sampling.mixture import Mixture
from pipeline.tasks.base import Task
from pipeline.training.scoring import Selection


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """What every rank is told. Picklable.

    Attributes:
        backbone, tokenizer: folder or hub id.
        model: fields of the `CaMtlConfig`.
        freeze: what `camtl.freezing.freeze` takes.
        tasks: in the order of their ids.
        mixture: how rounds are planned; `world_size` is set by the ranks.
        selection: how rows are taken from the candidates.
        smoothing: of the tasks' mean uncertainties.
        batch_size: rows trained per step over all ranks.
        gradient_accumulation: micro-batches of a rank's share.
        gradient_checkpointing, compile: how the encoder is run; the numbers are the same.
        learning_rate, new_parameters_learning_rate, warmup_proportion, weight_decay, max_grad_norm:
            of the optimiser.
        precision: `auto` (bf16 where the device has it), `bf16` or `fp32`.
        eval_every, checkpoint_every: in steps; None is at the end only.
        evaluate_elsewhere: whether checkpoints are evaluated by others, while training goes on.
    """

    backbone: str
    tokenizer: str
    model: dict[str, Any]
    freeze: str
    tasks: tuple[Task, ...]
    mixture: Mixture
    selection: Selection
    smoothing: float
    batch_size: int
    gradient_accumulation: int
    gradient_checkpointing: bool
    compile: bool
    learning_rate: float
    new_parameters_learning_rate: float
    warmup_proportion: float
    weight_decay: float
    max_grad_norm: float
    precision: str
    eval_every: int | None
    checkpoint_every: int | None
    evaluate_elsewhere: bool = False

    def fingerprint(self) -> dict[str, Any]:
        """What must not change when a run goes on, for it decides which rows are drawn and trained on."""
        mixture = self.mixture
        told = {
            "tasks": list(mixture.tasks),
            "sizes": list(mixture.sizes),
            "seed": mixture.seed,
            "policy": mixture.policy,
            "options": asdict(mixture.options),
            "selection": asdict(self.selection),
            "smoothing": self.smoothing,
            "candidates_per_step": mixture.candidates_per_step,
            "round_steps": mixture.round_steps,
            "max_steps": mixture.max_steps,
            "batch_size": self.batch_size,
        }
        return cast(dict[str, Any], json.loads(json.dumps(told)))  # as it comes back out of a checkpoint
