"""One step of the run's model shows whether its weights, losses and gradients are finite."""

from typing import Any

import pytest
import torch

from pipeline.doctor import batch
from tests.toy import make_job, make_rows


def test_a_sound_model_passes_with_rows_of_one_of_its_tasks(tiny_backbone: str) -> None:
    rows = make_rows([5, 6], [1, 1])
    finding = batch.check_batch(make_job(tiny_backbone, [10, 10, 10]), rows, on_gpu=False)
    assert finding.ok
    assert finding.message.startswith("2 rows of 1 tasks on cpu")


@pytest.mark.parametrize(
    ("broken", "message"),
    [("weights", "the loss is not finite: three"), ("gradient", "1 gradients are not finite, the first of ")],
)
def test_what_is_not_finite_is_named(
    tiny_backbone: str, monkeypatch: pytest.MonkeyPatch, broken: str, message: str
) -> None:
    build = batch.build_learner

    def build_broken(*arguments: Any) -> Any:
        learner = build(*arguments)
        parameter = next(each for each in learner.model.parameters() if each.requires_grad)
        if broken == "weights":
            parameter.data.fill_(torch.nan)
        else:
            parameter.register_hook(lambda gradient: gradient * torch.inf)
        return learner

    monkeypatch.setattr(batch, "build_learner", build_broken)
    rows = make_rows([5, 9, 16, 4], [0, 1, 2, 0])
    finding = batch.check_batch(make_job(tiny_backbone, [10, 10, 10]), rows, on_gpu=False)
    assert finding.ok is False
    assert finding.message.startswith(message)
