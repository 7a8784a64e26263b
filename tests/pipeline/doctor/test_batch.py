"""One step of the run's model shows whether its weights, losses and gradients are finite."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertModel

from camtl import TokenRows
from pipeline.doctor import batch
from tests.conftest import save_tokenizer
from tests.toy import make_job, make_rows

ROWS = make_rows([5, 9, 16, 4], [0, 1, 2, 0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [(ROWS, "4 rows of 3 tasks on cpu"), (make_rows([5, 6], [1, 1]), "2 rows of 1 tasks on cpu")],
)
def test_a_sound_model_passes_with_any_tasks(tiny_backbone: str, rows: TokenRows, message: str) -> None:
    [finding] = batch.check_batch(make_job(tiny_backbone, [10, 10, 10]), rows, on_gpu=False)
    assert finding.ok
    assert finding.message.startswith(message)


def test_weights_that_are_not_finite_are_named_by_their_loss(tiny_backbone: str, tmp_path: Path) -> None:
    encoder = BertModel.from_pretrained(tiny_backbone)
    encoder.state_dict()["encoder.layer.1.output.dense.bias"][0] = torch.nan  # shares the weights' memory
    encoder.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    [finding] = batch.check_batch(make_job(str(tmp_path), [10, 10, 10]), ROWS, on_gpu=False)
    assert finding.ok is False
    assert "the loss is not finite: three" in finding.message


def test_a_gradient_that_is_not_finite_is_named(tiny_backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build = batch.build_learner

    def build_with_overflow(*arguments: Any) -> Any:
        learner = build(*arguments)
        parameters = dict(learner.model.named_parameters())
        name = next(name for name, parameter in parameters.items() if parameter.requires_grad)
        parameters[name].register_hook(lambda gradient: gradient * torch.inf)
        return learner

    monkeypatch.setattr(batch, "build_learner", build_with_overflow)
    [finding] = batch.check_batch(make_job(tiny_backbone, [10, 10, 10]), ROWS, on_gpu=False)
    assert finding.ok is False
    assert finding.message.startswith("1 gradients are not finite, the first of ")
