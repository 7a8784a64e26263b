"""Heads: predictions in the labels' own units, losses on one scale, specifications that make sense."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from camtl import HeadSpec
from camtl.heads import LinearHead

RANGED = HeadSpec(kind="regression", num_labels=1, label_range=(1, 5))


def test_a_label_range_puts_predictions_in_its_units_and_the_loss_on_zero_to_one() -> None:
    torch.manual_seed(0)
    plain = LinearHead(HeadSpec(kind="regression", num_labels=1), 8)
    ranged = LinearHead(RANGED, 8)
    ranged.load_state_dict(plain.state_dict())
    pooled, labels = torch.randn(6, 8), torch.tensor([1.0, 5.0, 3.0, 2.5, 4.75, 1.0])
    torch.testing.assert_close(ranged(pooled), 1 + 4 * plain(pooled))
    expected = F.mse_loss((ranged(pooled)[:, 0] - 1) / 4, (labels - 1) / 4)
    torch.testing.assert_close(ranged.loss(ranged(pooled), labels), expected)
    torch.testing.assert_close(plain.loss(plain(pooled), labels), F.mse_loss(plain(pooled)[:, 0], labels))
    assert expected.item() <= 25 * plain.loss(plain(pooled), labels).item()


def test_a_prediction_off_by_the_whole_range_costs_one() -> None:
    head = LinearHead(RANGED, 8)
    assert head.loss(torch.tensor([[5.0]]), torch.tensor([1.0])).item() == pytest.approx(1.0)


def test_class_numbers_may_come_as_floats() -> None:
    head = LinearHead(HeadSpec(num_labels=3), 8)
    logits = torch.randn(4, 3)
    expected = F.cross_entropy(logits, torch.tensor([0, 2, 1, 1]))
    assert torch.equal(head.loss(logits, torch.tensor([0.0, 2.0, 1.0, 1.0])), expected)


def test_regression_keeps_the_fraction_of_its_labels() -> None:
    head = LinearHead(HeadSpec(kind="regression", num_labels=1), 8)
    assert head.loss(torch.tensor([[4.75]]), torch.tensor([4.75])).item() == 0.0
    assert head.loss(torch.tensor([[4.0]]), torch.tensor([4.75])).item() == pytest.approx(0.75**2)


def test_logits_are_float32_under_half_precision() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert LinearHead(RANGED, 8)(torch.randn(2, 8)).dtype == torch.float32


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"kind": "ranking"}, "head kind 'ranking' is not known: use one of classification, regression"),
        ({"kind": "regression", "num_labels": 2}, "1 output, not num_labels=2"),
        ({"num_labels": 1}, "at least 2 labels, not num_labels=1"),
        ({"num_labels": 3, "label_range": (0, 5)}, "needs a regression"),
        ({"kind": "regression", "num_labels": 1, "label_range": (5, 5)}, "lowest < highest"),
        ({"num_labels": 3, "label_names": ("yes", "no")}, "2 label_names for num_labels=3"),
    ],
)
def test_a_head_that_makes_no_sense_is_named(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        HeadSpec(**fields)
