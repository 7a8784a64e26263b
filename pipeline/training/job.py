"""The training job: everything that a rank needs besides its rows."""

import json
from dataclasses import asdict, dataclass
from typing import Any, cast

from pipeline.sampling.plan import Mixture
from pipeline.tasks.base import Task
from pipeline.training.selection import Selection


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """A training job, the same on every rank. Picklable.

    Attributes:
        backbone, tokenizer: folder or hub id.
        model: fields of the `CaMtlConfig`.
        freeze: argument of `camtl.freezing.freeze`.
        tasks: in the order of their ids.
        mixture: plans the rounds; the ranks set its `world_size`.
        selection: chooses the rows to train on among the candidates.
        smoothing: weight of the old value in the tasks' mean uncertainties.
        batch_size: rows trained per step over all ranks.
        gradient_accumulation: micro-batches of a rank's rows.
        precision: `auto` (bf16 if the device has it), `bf16` or `fp32`.
        eval_every, checkpoint_every: in steps; None is after the last step only.
        evaluate_elsewhere: other processes evaluate the checkpoints while training continues.
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
        """What a resumed run must not change, because it decides which rows are drawn and trained on."""
        fields = asdict(self.mixture)
        del fields["world_size"]
        fields |= {
            "selection": asdict(self.selection),
            "smoothing": self.smoothing,
            "batch_size": self.batch_size,
        }
        return cast(dict[str, Any], json.loads(json.dumps(fields)))  # as a checkpoint returns it
