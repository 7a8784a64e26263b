"""Running a small model on rows of mixed tasks, padded or packed, and comparing what it gives."""

from typing import Any

import torch
from torch import Tensor

from camtl import CaMtlModel, CaMtlOutput, PackedBatch, TokenRows
from tests.toy import make_rows, padded

LENGTHS, TASK_IDS = [5, 16, 3, 9, 12, 4, 16, 7], [0, 1, 2, 0, 1, 2, 0, 1]


def make_batch() -> TokenRows:
    return make_rows(LENGTHS, TASK_IDS)


def run(model: CaMtlModel, rows: TokenRows, *, pack: bool = False, **packing: Any) -> CaMtlOutput:
    labels = rows.labels_by_task(model.config.tasks)
    output: CaMtlOutput
    if pack:
        output = model(packed=PackedBatch.pack(rows, **packing), labels=labels)
    else:
        output = model(**padded(rows), labels=labels)
    return output


def row_logits(model: CaMtlModel, rows: TokenRows, **options: Any) -> list[Tensor]:
    """Logits of each row, in batch order."""
    logits = run(model, rows, **options).logits
    assert logits is not None
    left = {name: list(values.detach()) for name, values in logits.items()}
    return [left[model.config.tasks[task]].pop(0) for task in rows.task_ids]


def assert_near(left: Tensor, right: Tensor, of: str = "") -> None:
    tolerance = 1e-5 * max(1.0, float(right.detach().abs().max()))
    torch.testing.assert_close(left, right, rtol=0, atol=tolerance, msg=lambda text: f"{of}: {text}")
