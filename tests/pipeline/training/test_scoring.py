"""Predictions without gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from camtl.uncertainty import normalized_entropy
from pipeline.training.scoring import TokenCount, predict, uncertainties
from tests.pipeline.training.short_run import PLAIN
from tests.toy import NAMES, make_model, make_rows, padded

ROWS = make_rows([5, 16, 3, 9, 12, 4, 7], [0, 1, 2, 0, 1, 1, 2])


@pytest.mark.parametrize("batch_rows", [1, 3, 7])
def test_predictions_are_the_models_for_any_batch_size(batch_rows: int) -> None:
    model = make_model("base")
    with torch.no_grad():
        expected = model(**padded(ROWS)).logits
    left = {name: list(logits.numpy()) for name, logits in expected.items()}
    outputs = predict(model, ROWS, PLAIN, batch_rows=batch_rows)
    for task, [logits] in zip(ROWS.task_ids, outputs, strict=True):
        np.testing.assert_allclose(logits, left[NAMES[task]].pop(0), rtol=0, atol=1e-5)


def test_bfloat16_predictions_are_returned_in_float32() -> None:
    outputs = predict(make_model("base"), ROWS, replace(PLAIN, bfloat16=True), batch_rows=4)
    assert {logits.dtype for [logits] in outputs} == {np.dtype(np.float32)}


def test_scoring_does_not_change_the_models_mode() -> None:
    model = make_model("base", dropout=0.5)
    for mode in (True, False):
        model.train(mode)
        first, second = (uncertainties(model, ROWS, PLAIN) for _ in range(2))
        assert model.training is mode
        assert torch.equal(first, second) is not mode, "dropout is random"


def test_uncertainties_are_the_entropies_of_the_predictions() -> None:
    model, tokens = make_model("base"), TokenCount()
    entropy = uncertainties(model, ROWS, PLAIN, tokens)
    for row, [logits] in enumerate(predict(model, ROWS, PLAIN, batch_rows=2)):
        assert entropy[row].item() == pytest.approx(normalized_entropy(torch.tensor(logits)).item(), abs=1e-5)
        assert (entropy[row] == 0).item() == (ROWS.task_ids[row] == 2)
    assert not entropy.requires_grad
    assert tokens.real == ROWS.offsets[-1]
    assert tokens.computed >= tokens.real
