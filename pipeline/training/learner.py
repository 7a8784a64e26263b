"""One optimiser step on rows of mixed tasks, equal to one worker's step on the rows of all ranks."""

import contextlib
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_linear_schedule_with_warmup

from camtl import CaMtlConfig, CaMtlModel, CaMtlOutput, PackedBatch, TokenRows
from camtl.freezing import freeze
from pipeline.sampling.arrays import Floats
from pipeline.training.distributed import world_size
from pipeline.training.job import TrainJob
from pipeline.training.scoring import Precision, TokenCount


def build_learner(job: TrainJob, device: torch.device) -> "Learner":
    """Builds model, optimiser and schedule as they are before the first step, the same on every rank."""
    torch.manual_seed(job.mixture.seed)
    model = CaMtlModel.from_backbone(job.backbone, CaMtlConfig(**job.model))
    nn.Module.to(model, device)
    freeze(model, job.freeze)
    if job.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if job.compile:
        model.encode = torch.compile(model.encode, dynamic=True)  # type: ignore[method-assign]
    optimizer = make_optimizer(
        model,
        learning_rate=job.learning_rate,
        new_parameters_learning_rate=job.new_parameters_learning_rate,
        weight_decay=job.weight_decay,
    )
    return Learner(
        model,
        optimizer,
        make_schedule(optimizer, job.mixture.max_steps, job.warmup_proportion),
        Precision.of(device, job.precision),
        max_grad_norm=job.max_grad_norm,
        gradient_accumulation=job.gradient_accumulation,
        task_factors=job.mixture.options.factors,
    )


def make_optimizer(
    model: CaMtlModel, *, learning_rate: float, new_parameters_learning_rate: float, weight_decay: float
) -> AdamW:
    """Returns AdamW over the parameters that are not frozen; norms and biases do not decay.

    Conditional parts and heads have their own peak rate, `new_parameters_learning_rate`.
    """
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            new = not name.startswith("encoder.") or ".film." in name
            groups.setdefault((new, parameter.ndim > 1), []).append(parameter)
    return AdamW(
        [
            {
                "params": parameters,
                "lr": new_parameters_learning_rate if new else learning_rate,
                "weight_decay": weight_decay if decays else 0.0,
            }
            for (new, decays), parameters in groups.items()
        ],
        fused=True,  # one pass over memory; on a CPU this saves a tenth of a step
    )


def make_schedule(optimizer: Optimizer, max_steps: int, warmup_proportion: float) -> LambdaLR:
    """Returns a linear warm-up over the first share of the steps, then linear decay to 0."""
    return get_linear_schedule_with_warmup(optimizer, round(max_steps * warmup_proportion), max_steps)


@dataclass
class Learner:
    """Model, optimiser and schedule of one rank."""

    model: CaMtlModel
    optimizer: Optimizer
    schedule: LambdaLR
    precision: Precision
    _: KW_ONLY
    max_grad_norm: float
    gradient_accumulation: int
    task_factors: Sequence[float] | None = None  # number of tasks that each counts as in the loss, [T]
    tokens: TokenCount = field(default_factory=TokenCount)

    def __post_init__(self) -> None:
        self._ddp: DistributedDataParallel | None = None
        if world_size() > 1:
            self._ddp = DistributedDataParallel(
                self.model, forward_sync_buffers=False, gradient_as_bucket_view=True
            )

    def step(self, rows: TokenRows, rows_per_task: Floats) -> tuple[Tensor, Tensor]:
        """Trains on this rank's rows.

        The loss is the mean over the tasks in the GLOBAL batch of each task's mean loss over its global rows, so
        the number of ranks does not change the gradients. A task of factor f counts as f tasks. (Departure from
        the published code: there the mean is over the tasks on the rank.)

        Args:
            rows: this rank's rows, at least one.
            rows_per_task: rows of each task over all ranks, [T].

        Returns:
            Summed loss [T] and summed normalised entropy [T] of this rank's rows of each task, on the device.
        """
        self.model.train()
        present = np.asarray(self.task_factors or 1.0) * (rows_per_task > 0)
        weights = present / present.sum() / np.maximum(rows_per_task, 1)  # of a task's row in the loss
        losses, entropy = torch.zeros(2, len(rows_per_task), device=self.precision.device)
        chunks = np.array_split(np.arange(len(rows)), min(self.gradient_accumulation, len(rows)))
        for chunk in chunks[:-1]:
            with self._ddp.no_sync() if self._ddp else contextlib.nullcontext():
                self._backward(rows.take(chunk), weights, losses, entropy)
        self._backward(rows.take(chunks[-1]), weights, losses, entropy)
        # DDP gives zeros to unused heads, with which AdamW would decay them.
        for task in np.flatnonzero(rows_per_task == 0):
            self.model.heads[self.model.config.tasks[task]].zero_grad(set_to_none=True)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        return losses, entropy

    def _backward(self, rows: TokenRows, weights: Floats, losses: Tensor, entropy: Tensor) -> None:
        """Adds the gradients of some rows, and adds to `losses` and `entropy`."""
        batch = PackedBatch.pack(rows)
        self.tokens.add(batch, rows)
        device, tasks = self.precision.device, self.model.config.tasks
        labels = {
            name: values.to(device, non_blocking=True) for name, values in rows.labels_by_task(tasks).items()
        }
        batch = batch.to(device)
        with self.precision.autocast():
            output = (self._ddp or self.model)(packed=batch, labels=labels)
        loss = self._zero_of_unused(output) if self._ddp else torch.zeros((), device=device)
        for task, task_rows in batch.rows_by_task.items():
            summed = output.row_losses[tasks[task]].sum()
            losses[task] += summed.detach()
            logits = output.logits[tasks[task]].detach()
            entropy[task] += self.model.head(task).row_uncertainty(logits, task_rows).sum()
            loss = loss + summed * float(weights[task])
        (loss * world_size()).backward()  # DDP averages gradients over ranks, the global loss is a sum

    def _zero_of_unused(self, output: CaMtlOutput) -> Tensor:
        """0 as a function of the parameters that no row used: DDP waits for the gradient of every parameter."""
        assert output.logits is not None
        assert output.pooler_output is not None
        zero = 0.0 * output.pooler_output.float().sum()
        for name, head in self.model.heads.items():
            if name not in output.logits:
                zero = zero + 0.0 * torch.stack([parameter.sum() for parameter in head.parameters()]).sum()
        return zero
