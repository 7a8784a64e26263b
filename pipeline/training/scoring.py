"""The model's predictions without gradients, which score candidates and evaluate checkpoints. n rows."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camtl import CaMtlModel, PackedBatch, TokenRows
from pipeline.sampling.arrays import Ints
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
    """Computes the normalised entropy of every row (paper eq. 7), on the host, [n].

    Args:
        model: the model, in its current mode (dropout on or off).
        rows: candidates of any tasks, computed in one batch.
        precision: device and number format.
        tokens: counts the computed tokens.
    """
    entropy = torch.zeros(len(rows), device=precision.device)
    for batch, _, logits in _forward(model, rows, precision, len(rows), tokens):
        for task, task_rows in batch.rows_by_task.items():
            task_logits = logits[model.config.tasks[task]]
            entropy[task_rows.rows] = model.head(task).row_uncertainty(task_logits, task_rows)
    return entropy.cpu()


@torch.no_grad()
def predict(
    model: CaMtlModel, rows: TokenRows, precision: Precision, *, batch_rows: int
) -> list[list[NDArray[np.float32]]]:
    """Computes the heads' outputs for every row, in the order of the rows.

    Args:
        model: the model, in its current mode (dropout on or off).
        rows: rows of any tasks, [n].
        precision: device and number format.
        batch_rows: rows per batch.

    Returns:
        For each row one array: class logits [C], a value [1], scores [choices] or a tagging's logits
        [marked tokens, C]; for a span one array [positions, 2] per window.
    """
    outputs: list[list[NDArray[np.float32]]] = [[] for _ in range(len(rows))]
    for batch, numbers, logits in _forward(model, rows, precision, batch_rows, None):
        for task, task_rows in batch.rows_by_task.items():
            task_logits = logits[model.config.tasks[task]].float().cpu()
            arrays = model.head(task).unbatch(task_logits, task_rows.to("cpu"))
            for row, row_arrays in zip(numbers[task_rows.rows.cpu().numpy()], arrays, strict=True):
                outputs[row] = row_arrays
    return outputs


def _forward(
    model: CaMtlModel, rows: TokenRows, precision: Precision, batch_rows: int, tokens: TokenCount | None
) -> Iterator[tuple[PackedBatch, Ints, dict[str, Tensor]]]:
    """Yields (batch on the device, indices of its rows, logits by task); several batches are sorted by length."""
    order = np.argsort(rows.row_lengths, kind="stable") if len(rows) > batch_rows else np.arange(len(rows))
    for begin in range(0, len(rows), batch_rows):
        numbers = order[begin : begin + batch_rows]
        chunk = rows.take(numbers)
        batch = PackedBatch.pack(chunk)
        if tokens is not None:
            tokens.add(batch, chunk)
        batch = batch.to(precision.device)
        with precision.autocast():
            yield batch, numbers, model(packed=batch).logits
