"""One step of the run's own model tells whether its weights and losses are numbers."""

from pathlib import Path

import pytest
import torch
from transformers import BertModel

from pipeline.doctor.batch import NAME, Tried, check_batch, judged
from tests.conftest import save_tokenizer
from tests.toy import make_job, make_rows

ROWS = make_rows([5, 9, 16, 4], [0, 1, 2, 0])


def test_a_sound_model_takes_a_step(tiny_backbone: str) -> None:
    [finding] = check_batch(make_job(tiny_backbone, [10, 10, 10]), ROWS, on_gpu=False)
    assert (finding.name, finding.ok) == (NAME, True)
    assert "4 rows of 3 tasks on cpu" in finding.told


def test_tasks_without_rows_are_left_out(tiny_backbone: str) -> None:
    [finding] = check_batch(make_job(tiny_backbone, [10, 10, 10]), make_rows([5, 6], [1, 1]), on_gpu=False)
    assert finding.ok
    assert "2 rows of 1 tasks" in finding.told


def test_weights_that_are_no_numbers_are_told(tiny_backbone: str, tmp_path: Path) -> None:
    encoder = BertModel.from_pretrained(tiny_backbone)
    encoder.state_dict()["encoder.layer.1.output.dense.bias"][0] = torch.nan  # shares the weights' memory
    encoder.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    [finding] = check_batch(make_job(str(tmp_path), [10, 10, 10]), ROWS, on_gpu=False)
    assert finding.ok is False
    assert "the loss is no number: three" in finding.told


@pytest.mark.parametrize(
    ("tried", "ok"),
    [
        (Tried({"a": 0.5}, (), 1, 1), True),
        (Tried({"a": float("inf")}, (), 1, 1), False),
        (Tried({"a": 0.5}, ("encoder.weight",), 1, 1), False),
    ],
)
def test_losses_and_gradients_are_judged(tried: Tried, ok: bool) -> None:
    assert judged(tried, 2, "cpu").ok is ok
