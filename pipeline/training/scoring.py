"""The model's predictions without gradients: for scoring candidates, and for evaluation.

Shapes: n rows.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camtl import CaMtlModel, PackedBatch, TokenRows
from camtl.uncertainty import select_most_uncertain
from pipeline.training.distributed import has_bfloat16


@dataclass(frozen=True)
class Precision:
    """Device of a computation, and whether its matrix products are in bfloat16."""

    device: torch.device
    bfloat16: bool

    @staticmethod
    def of(device: torch.device, precision: str = "auto") -> "Precision":
        """`bf16`, `fp32`, or `auto`: bf16 where the device has it."""
        return Precision(device, has_bfloat16(device) if precision == "auto" else precision == "bf16")

    def autocast(self) -> AbstractContextManager[None]:
        """The context that the model is called in."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)


@dataclass
class TokenCount:
    """Tokens that were computed, and how many of them were some row's."""

    computed: int = 0
    real: int = 0

    def add(self, batch: PackedBatch, rows: TokenRows) -> None:
        """Count a batch."""
        self.computed += batch.input_ids.numel()
        self.real += int(rows.offsets[-1])


@torch.no_grad()
def uncertainties(
    model: CaMtlModel, rows: TokenRows, precision: Precision, tokens: TokenCount | None = None
) -> Tensor:
    """Normalised entropy of every row, on the host, [n]; the model's mode (dropout) is left as it is.

    Args:
        model: the model.
        rows: candidates of any tasks; all are computed at once.
        precision: device and number format.
        tokens: counts what was computed.
    """
    entropy = torch.zeros(len(rows), device=precision.device)
    for batch, _, logits in _forward(model, rows, precision, len(rows), tokens):
        for task, where in batch.rows_by_task.items():
            found = model.head(task).row_uncertainty(logits[model.config.tasks[task]], where)
            entropy[where.rows] = found
    return entropy.cpu()


@torch.no_grad()
def predict(
    model: CaMtlModel, rows: TokenRows, precision: Precision, *, batch_rows: int
) -> list[list[NDArray[np.float32]]]:
    """What the heads give for every row, an array per encoding, in the order of the rows.

    Args:
        model: the model; its mode (dropout) is left as it is.
        rows: what to predict, [n].
        precision: device and number format.
        batch_rows: rows computed at once.

    Returns:
        Of each row: its logits [C], value [1], or scores [choices], as one array; the logits
        [marked tokens, C] of a tagging as one; of a span one of [positions, 2] for each window.
    """
    found: list[list[NDArray[np.float32]]] = [[] for _ in range(len(rows))]
    for batch, numbers, logits in _forward(model, rows, precision, batch_rows, None):
        for task, where in batch.rows_by_task.items():
            head = model.head(task)
            outputs = head.unbatch(logits[model.config.tasks[task]].float().cpu(), where.to("cpu"))
            for row, arrays in zip(numbers[where.rows.cpu().numpy()], outputs, strict=True):
                found[row] = arrays
    return found


def _forward(
    model: CaMtlModel, rows: TokenRows, precision: Precision, batch_rows: int, tokens: TokenCount | None
) -> Iterator[tuple[PackedBatch, NDArray[np.int64], dict[str, Tensor]]]:
    """(batch on the device, numbers of its rows, logits by task) of all rows, alike in length if not all at once."""
    by_length = (
        np.argsort(rows.row_lengths, kind="stable") if len(rows) > batch_rows else np.arange(len(rows))
    )
    for begin in range(0, len(rows), batch_rows):
        numbers = by_length[begin : begin + batch_rows]
        batch_of_rows = rows.take(numbers)
        batch = PackedBatch.pack(batch_of_rows)
        if tokens is not None:
            tokens.add(batch, batch_of_rows)
        moved = batch.to(precision.device)
        with precision.autocast():
            yield moved, numbers, model(packed=moved).logits


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How the rows to train on are taken from the candidates.

    Attributes:
        by_uncertainty: take the most uncertain ones; otherwise the first ones.
        per_task_pool: the pool is Algorithm 1's, and surplus regression rows score 0 as published.
        copy_from: {task without an entropy: task whose scores stand in for its own, or None}.
        max_share_per_task: bound on one task's share of a trained batch, or one for each task, [T]; None is the
            paper's rule.
        dropout: score with dropout on, as the published code does.
    """

    by_uncertainty: bool
    per_task_pool: bool
    copy_from: Mapping[int, int | None]
    max_share_per_task: float | tuple[float, ...] | None
    dropout: bool

    def choose(self, entropy: Tensor, task_ids: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """Numbers of the k candidates to train on, [k]."""
        share = self.max_share_per_task
        chosen, _ = select_most_uncertain(
            entropy,
            torch.from_numpy(task_ids),
            k,
            copy_from=self.copy_from,
            max_share_per_task=torch.tensor(share) if isinstance(share, tuple) else share,
            surplus="zero" if self.per_task_pool else "mean",
        )
        return chosen.numpy()


def task_sums(
    entropy: Tensor | None, candidates: NDArray[np.int64], trained: NDArray[np.int64], num_tasks: int
) -> NDArray[np.float64]:
    """What the ranks add up in a step: per task, uncertainty, candidates, rows trained; [3, T]."""
    weights = None if entropy is None else entropy.numpy().astype(np.float64)
    sums = np.zeros(num_tasks) if weights is None else np.bincount(candidates, weights, num_tasks)
    return np.stack(
        [sums, np.bincount(candidates, minlength=num_tasks), np.bincount(trained, minlength=num_tasks)]
    )
