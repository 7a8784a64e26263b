"""The model's predictions without gradients, which score candidates and evaluate checkpoints. n rows."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camtl import CaMtlModel, PackedBatch, TokenRows
from pipeline.training.distributed import has_bfloat16


@dataclass(frozen=True)
class Precision:
    """Device of a computation, and whether its matrix products are in bfloat16."""

    device: torch.device
    bfloat16: bool

    @staticmethod
    def of(device: torch.device, precision: str = "auto") -> "Precision":
        """Resolves `bf16`, `fp32` or `auto` (bf16 if the device has it)."""
        return Precision(device, has_bfloat16(device) if precision == "auto" else precision == "bf16")

    def autocast(self) -> AbstractContextManager[None]:
        """The context for calls of the model."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)


@dataclass
class TokenCount:
    """Computed tokens, padding included, and real tokens among them."""

    computed: int = 0
    real: int = 0

    def add(self, batch: PackedBatch, rows: TokenRows) -> None:
        """Counts a batch."""
        self.computed += batch.input_ids.numel()
        self.real += int(rows.offsets[-1])


@torch.no_grad()
def uncertainties(
    model: CaMtlModel, rows: TokenRows, precision: Precision, tokens: TokenCount | None = None
) -> Tensor:
    """Computes the normalised entropy of every row (paper eq. 7) in one batch, on the host, [n].

    The model keeps its mode (dropout on or off); `tokens` counts the computed tokens.
    """
    batch = PackedBatch.pack(rows)
    if tokens is not None:
        tokens.add(batch, rows)
    batch = batch.to(precision.device)
    entropy = torch.zeros(len(rows), device=precision.device)
    with precision.autocast():
        logits = model(packed=batch).logits
        for task, task_rows in batch.rows_by_task.items():
            task_logits = logits[model.config.tasks[task]]
            entropy[task_rows.rows] = model.head(task).row_uncertainty(task_logits, task_rows)
    return entropy.cpu()


@torch.no_grad()
def predict(
    model: CaMtlModel, rows: TokenRows, precision: Precision, *, batch_rows: int
) -> list[list[NDArray[np.float32]]]:
    """Computes the heads' outputs for every row. The model keeps its mode (dropout on or off).

    Returns:
        For each row one array: class logits [C], a value [1], scores [choices] or a tagging's logits
        [marked tokens, C]; for a span one array [positions, 2] per window.
    """
    # Rows of similar length share a batch.
    order = np.argsort(rows.row_lengths, kind="stable") if len(rows) > batch_rows else np.arange(len(rows))
    outputs: list[list[NDArray[np.float32]]] = [[] for _ in order]
    for begin in range(0, len(rows), batch_rows):
        indices = order[begin : begin + batch_rows]
        batch = PackedBatch.pack(rows.take(indices)).to(precision.device)
        with precision.autocast():
            logits = model(packed=batch).logits
            for task, task_rows in batch.rows_by_task.items():
                task_logits = logits[model.config.tasks[task]].float().cpu()
                arrays = model.head(task).unbatch(task_logits, task_rows.to("cpu"))
                for index, row_arrays in zip(indices[task_rows.rows.cpu().numpy()], arrays, strict=True):
                    outputs[index] = row_arrays
    return outputs
