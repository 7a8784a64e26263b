"""One optimiser step on rows of mixed tasks, equal to one worker's on the union of all ranks' rows."""

import contextlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_linear_schedule_with_warmup

from camtl import CaMtlModel, CaMtlOutput, PackedBatch, TokenRows
from pipeline.training.distributed import world_size
from pipeline.training.scoring import Precision, TokenCount


def make_optimizer(
    model: CaMtlModel, *, learning_rate: float, new_parameters_learning_rate: float, weight_decay: float
) -> AdamW:
    """AdamW with a rate for pretrained and one for new parameters; no norm and no bias decays.

    Args:
        model: the model; frozen parameters are left out.
        learning_rate: peak rate of the pretrained weights.
        new_parameters_learning_rate: peak rate of conditional parts and heads.
        weight_decay: decay of weight matrices.
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
        fused=True,  # one pass over memory, which on a CPU is a tenth of a step
    )


def make_schedule(optimizer: Optimizer, max_steps: int, warmup_proportion: float) -> LambdaLR:
    """Linear warm-up over the first share of the steps, then linear decay to 0."""
    return get_linear_schedule_with_warmup(optimizer, round(max_steps * warmup_proportion), max_steps)


class Learner:
    """Model, optimiser and schedule of one rank."""

    def __init__(
        self,
        model: CaMtlModel,
        optimizer: Optimizer,
        schedule: LambdaLR,
        precision: Precision,
        *,
        max_grad_norm: float,
        gradient_accumulation: int,
        task_factors: Sequence[float] | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.precision = precision
        self.tokens = TokenCount()
        self._max_grad_norm = max_grad_norm
        self._gradient_accumulation = gradient_accumulation
        self._factors = np.ones(len(model.config.tasks)) if task_factors is None else np.asarray(task_factors)
        self._wrapped: nn.Module = model
        if world_size() > 1:
            self._wrapped = DistributedDataParallel(
                model, forward_sync_buffers=False, gradient_as_bucket_view=True
            )

    def step(self, rows: TokenRows, rows_per_task: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """Train on this rank's rows.

        The loss is the mean over the tasks present in the GLOBAL batch, each task's summed loss
        divided by its global row count (so that workers do not change the gradients). A task of factor f
        counts as f tasks.

        Args:
            rows: this rank's rows, at least one.
            rows_per_task: rows of each task over all ranks, [T].

        Returns:
            Summed loss, and summed normalised entropy, of this rank's rows of each task, [T] and [T],
            on the device.
        """
        self.model.train()
        present = self._factors * (rows_per_task > 0)
        weights = present / present.sum() / np.maximum(rows_per_task, 1)  # of a row of each task, in the loss
        losses, entropy = torch.zeros(2, len(rows_per_task), device=self.precision.device)
        chunks = np.array_split(np.arange(len(rows)), min(self._gradient_accumulation, len(rows)))
        for number, chunk in enumerate(chunks):
            last = number == len(chunks) - 1
            with contextlib.nullcontext() if last else self._without_sync():
                self._backward(rows.take(chunk), weights, losses, entropy)
        for task in np.flatnonzero(rows_per_task == 0):  # a zero from DDP would decay the head all the same
            self.model.heads[self.model.config.tasks[task]].zero_grad(set_to_none=True)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        return losses, entropy

    def _backward(
        self,
        rows: TokenRows,
        weights: NDArray[np.float64],
        losses: Tensor,
        entropy: Tensor,
    ) -> None:
        packed = PackedBatch.pack(rows)
        self.tokens.add(packed, rows)
        device = self.precision.device
        names = self.model.config.tasks
        labels = {
            name: values.to(device, non_blocking=True) for name, values in rows.labels_by_task(names).items()
        }
        moved = packed.to(device)
        with self.precision.autocast():
            output = self._wrapped(packed=moved, labels=labels)
        loss = self._untouched(output)
        for task, where in moved.rows_by_task.items():
            summed = output.row_losses[names[task]].sum()
            losses[task] += summed.detach()
            uncertainty = self.model.head(task).row_uncertainty(output.logits[names[task]].detach(), where)
            entropy[task] += uncertainty.sum()
            loss = loss + summed * float(weights[task])
        (loss * world_size()).backward()  # DDP takes the mean over ranks, the global loss is a sum

    def _untouched(self, output: CaMtlOutput) -> Tensor:
        """Zero, through what no row here reaches (heads, the pooler): DDP waits for every parameter's gradient."""
        zero = torch.zeros((), device=self.precision.device)
        if world_size() > 1:
            assert output.logits is not None
            assert output.pooler_output is not None
            zero = zero + 0.0 * output.pooler_output.float().sum()
            for name, head in self.model.heads.items():
                if name not in output.logits:
                    zero = (
                        zero + 0.0 * torch.stack([parameter.sum() for parameter in head.parameters()]).sum()
                    )
        return zero

    def _without_sync(self) -> contextlib.AbstractContextManager[None]:
        if isinstance(self._wrapped, DistributedDataParallel):
            return self._wrapped.no_sync()
        return contextlib.nullcontext()
