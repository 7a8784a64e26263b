"""Predictions without gradients, and the choice among candidates."""

import numpy as np
import pytest
import torch

from camtl.uncertainty import normalized_entropy
from pipeline.training.scoring import Precision, TokenCount, predict, uncertainties
from pipeline.training.selection import Selection, task_sums
from tests.toy import NAMES, make_model, make_rows, padded

PLAIN = Precision(torch.device("cpu"), bfloat16=False)
ROWS = make_rows([5, 16, 3, 9, 12, 4, 7], [0, 1, 2, 0, 1, 1, 2])


def make_selection(**changes: object) -> Selection:
    fields: dict[str, object] = {
        "by_uncertainty": True,
        "per_task_pool": False,
        "copy_from": {2: 0},
        "max_share_per_task": None,
        "dropout": False,
    }
    return Selection(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_rows", [1, 3, 7, 100])
def test_predictions_are_the_models_whatever_the_batches(batch_rows: int) -> None:
    model = make_model("base")
    with torch.no_grad():
        expected = model(**padded(ROWS)).logits
    left = {name: list(logits.numpy()) for name, logits in expected.items()}
    found = predict(model, ROWS, PLAIN, batch_rows=batch_rows)
    assert len(found) == len(ROWS)
    for task, outputs in zip(ROWS.task_ids, found, strict=True):
        [logits] = outputs
        np.testing.assert_allclose(logits, left[NAMES[task]].pop(0), rtol=0, atol=1e-5)


def test_bfloat16_predictions_come_back_in_float32() -> None:
    found = predict(make_model("base"), ROWS, Precision(torch.device("cpu"), bfloat16=True), batch_rows=4)
    assert {logits.dtype for [logits] in found} == {np.dtype(np.float32)}


def test_the_models_mode_is_left_as_it_is() -> None:
    model = make_model("base", dropout=0.5)
    for mode in (True, False):
        model.train(mode)
        first, second = (uncertainties(model, ROWS, PLAIN) for _ in range(2))
        assert model.training is mode
        assert torch.equal(first, second) is not mode, "dropout draws anew"


def test_uncertainties_are_the_entropies_of_the_predictions() -> None:
    model, tokens = make_model("base"), TokenCount()
    found = uncertainties(model, ROWS, PLAIN, tokens)
    for row, [logits] in enumerate(predict(model, ROWS, PLAIN, batch_rows=2)):
        assert found[row].item() == pytest.approx(normalized_entropy(torch.tensor(logits)).item(), abs=1e-5)
        assert (found[row] == 0).item() == (ROWS.task_ids[row] == 2)
    assert not found.requires_grad
    assert tokens.real == ROWS.offsets[-1]
    assert tokens.computed >= tokens.real


def test_the_most_uncertain_candidates_are_chosen() -> None:
    entropy = torch.tensor([0.1, 0.9, 0.0, 0.5, 0.8, 0.2, 0.0])
    chosen = make_selection(copy_from={}).choose(entropy, ROWS.task_ids, 3)
    assert sorted(chosen.tolist()) == [1, 3, 4]


def test_surplus_regression_rows_count_as_published_only_in_the_papers_pool() -> None:
    entropy, tasks = torch.tensor([0.4, 0.8, 0.0, 0.0, 0.0]), np.asarray([0, 0, 2, 2, 2])
    assert sorted(make_selection(per_task_pool=True).choose(entropy, tasks, 4).tolist()) == [0, 1, 2, 3]
    # With a pool factor the third regression row has the source's mean, which is above the least certain.
    assert sorted(make_selection().choose(entropy, tasks, 3).tolist()) == [1, 3, 4]


def test_a_share_bounds_every_task() -> None:
    entropy, tasks = torch.tensor([0.9, 0.8, 0.7, 0.2, 0.1]), np.asarray([0, 0, 0, 1, 1])
    assert sorted(make_selection(max_share_per_task=0.5).choose(entropy, tasks, 4).tolist()) == [0, 1, 3, 4]


def test_sums_per_task() -> None:
    sums = task_sums(torch.tensor([0.25, 0.5, 0.75]), np.asarray([1, 0, 1]), np.asarray([1]), 3)
    assert sums.tolist() == [[0.5, 1.0, 0.0], [1, 2, 0], [0, 1, 0]]
    assert task_sums(None, np.asarray([1]), np.asarray([1]), 2).tolist() == [[0, 0], [0, 1], [0, 1]]
