"""Runs a small model on rows of mixed tasks, padded or packed, and compares outputs and weights."""

from typing import Any

import torch
from torch import Tensor

from camtl import CaMtlModel, PackedBatch, TokenRows
from tests.toy import make_rows, padded

LENGTHS, TASK_IDS = [5, 16, 3, 9, 12, 4, 16, 7], [0, 1, 2, 0, 1, 2, 0, 1]


def make_batch() -> TokenRows:
    return make_rows(LENGTHS, TASK_IDS)


def run(model: CaMtlModel, rows: TokenRows, *, pack: bool = False, **packing: Any) -> Any:
    """The model's output (`Any`: every field is present, because the rows have labels)."""
    batch = {"packed": PackedBatch.pack(rows, **packing)} if pack else padded(rows)
    return model(**batch, labels=rows.labels_by_task(model.config.tasks))


def run_backward(model: CaMtlModel, rows: TokenRows, **options: Any) -> Any:
    """Runs the model and computes all gradients anew."""
    model.zero_grad()
    output = run(model, rows, **options)
    output.loss.backward()
    return output


def row_logits(model: CaMtlModel, rows: TokenRows, **options: Any) -> list[Tensor]:
    """Logits of each row, in batch order."""
    logits = run(model, rows, **options).logits
    remaining = {name: list(values.detach()) for name, values in logits.items()}
    return [remaining[model.config.tasks[task]].pop(0) for task in rows.task_ids]


def assert_near(left: Tensor, right: Tensor, of: str = "") -> None:
    tolerance = 1e-5 * max(1.0, float(right.detach().abs().max()))
    torch.testing.assert_close(left, right, rtol=0, atol=tolerance, msg=lambda text: f"{of}: {text}")


def assert_same_model(model: CaMtlModel, loaded: CaMtlModel) -> None:
    """Asserts equal weights and, up to the last bit (memory alignment changes it), equal logits."""
    state = loaded.state_dict()
    assert set(state) == set(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value), name
    rows = make_batch()
    for expected, logits in zip(row_logits(model, rows), row_logits(loaded.eval(), rows), strict=True):
        assert_near(logits, expected)
