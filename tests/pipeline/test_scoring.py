"""Predictions without gradients, and the choice among candidates."""

import numpy as np
import pytest
import torch

from camtl.uncertainty import normalized_entropy
from pipeline.scoring import Arithmetic, Selection, TokenCount, entropies, predict, task_sums
from tests.toy import NAMES, make_model, make_rows, padded

PLAIN = Arithmetic(torch.device("cpu"), bfloat16=False)
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
    model, tokens = make_model("base"), TokenCount()
    with torch.no_grad():
        expected = model(**padded(ROWS)).logits
    found = predict(model, ROWS, PLAIN, batch_rows=batch_rows, tokens=tokens)
    assert sorted(found) == [0, 1, 2]
    for task, (numbers, logits) in found.items():
        rows = np.flatnonzero(ROWS.task_ids == task)
        assert sorted(numbers.tolist()) == rows.tolist(), "every row once"
        torch.testing.assert_close(logits[np.argsort(numbers)], expected[NAMES[task]], rtol=0, atol=1e-5)
        assert not logits.requires_grad
    assert tokens.real == ROWS.offsets[-1]
    assert tokens.computed >= tokens.real


def test_bfloat16_predictions_come_back_in_float32() -> None:
    found = predict(make_model("base"), ROWS, Arithmetic(torch.device("cpu"), bfloat16=True), batch_rows=4)
    assert {logits.dtype for _, logits in found.values()} == {torch.float32}


def test_the_models_mode_is_left_as_it_is() -> None:
    model = make_model("base", dropout=0.5)
    for mode in (True, False):
        model.train(mode)
        first, second = (entropies(predict(model, ROWS, PLAIN, batch_rows=9), len(ROWS)) for _ in range(2))
        assert model.training is mode
        assert torch.equal(first, second) is not mode, "dropout draws anew"


def test_entropies_stand_where_their_rows_stand() -> None:
    model = make_model("base")
    found = entropies(predict(model, ROWS, PLAIN, batch_rows=2), len(ROWS))
    for row, task in enumerate(ROWS.task_ids):
        [(_, logits)] = predict(model, ROWS.take(np.asarray([row])), PLAIN, batch_rows=1).values()
        assert found[row].item() == pytest.approx(normalized_entropy(logits).item(), abs=1e-5)
        assert (found[row] == 0).item() == (task == 2)


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
