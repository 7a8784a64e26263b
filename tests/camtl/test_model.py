"""The model's conditions, losses and refusals, on the small BERT."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from camtl import PackedBatch
from tests.camtl.running import LENGTHS, TASK_IDS, assert_near, make_batch, row_logits, run, run_backward
from tests.toy import NAMES, gradients, make_model, make_rows, padded

by_variant = pytest.mark.parametrize("variant", ["base", "large", "none"])


@pytest.mark.parametrize(
    ("variant", "switches"),
    [
        ("base", {}),
        ("large", {}),
        ("none", {"conditional_attention": True}),
        ("none", {"conditional_alignment": True}),
        ("none", {"conditional_layer_norm": True}),
        ("none", {"bottleneck": "top"}),
        ("none", {"bottleneck": "all"}),
    ],
)
def test_every_conditional_part_alone_makes_the_output_depend_on_the_task(
    variant: str, switches: dict[str, Any]
) -> None:
    model, batch = make_model(variant, **switches), padded(make_rows([8], [0]))
    first, second = (model(**{**batch, "task_ids": torch.tensor([task])}).pooler_output for task in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)
    run_backward(model, make_batch())
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert unused == [], "DistributedDataParallel would wait for these forever"


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable")
@by_variant
def test_recomputed_layers_give_the_same_gradients(variant: str) -> None:
    """Two forward passes before the backward passes: a recomputed layer must read its own batch's tasks."""
    model = make_model(variant).train()
    batches = make_batch(), make_rows(LENGTHS, TASK_IDS[::-1], seed=5)

    def compute_gradients() -> dict[str, Tensor]:
        model.zero_grad()
        for loss in [run(model, rows, pack=True).loss for rows in batches]:
            loss.backward()
        return gradients(model)

    expected = compute_gradients()
    model.gradient_checkpointing_enable()
    assert model.gradient_checkpointing
    actual = compute_gradients()
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_mean_over_the_tasks_with_rows_and_labels() -> None:
    model, rows = make_model(), make_batch()
    output = run(model, rows)
    assert set(output.task_losses) == set(NAMES)
    assert output.loss.item() == pytest.approx(np.mean([loss.item() for loss in output.task_losses.values()]))
    one_task = model(**padded(rows), labels={"two": rows.labels_by_task(NAMES)["two"]})
    assert one_task.loss.item() == pytest.approx(output.task_losses["two"].item())
    assert set(one_task.logits) == set(NAMES)
    without_labels = model(**padded(rows))
    assert without_labels.loss is without_labels.task_losses is None
    without_rows = run(model, make_rows([4, 5], [1, 1]))
    assert set(without_rows.logits) == set(without_rows.task_losses) == {"two"}


def test_a_batch_without_mask_and_token_types_is_all_tokens_of_the_first_type() -> None:
    model, batch = make_model(), padded(make_rows([8, 8], [0, 1]))
    batch["token_type_ids"].zero_()
    full = model(**batch).logits
    bare = model(input_ids=batch["input_ids"], task_ids=batch["task_ids"]).logits
    for name in full:
        assert torch.equal(full[name], bare[name])


ONE_ROW = padded(make_rows([4], [0]))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"input_ids": ONE_ROW["input_ids"]}, "pass input_ids with task_ids"),
        ({"task_ids": ONE_ROW["task_ids"]}, "pass input_ids with task_ids"),
        ({**ONE_ROW, "task_ids": torch.tensor([3])}, r"task id 3 is outside 0\.\.2"),
        ({**ONE_ROW, "task_ids": torch.tensor([-1])}, r"task id -1 is outside 0\.\.2"),
        (padded(make_rows([4], [0]), width=17), "17 tokens is longer than max_seq_length=16"),
        (
            {"packed": PackedBatch.pack(make_rows([17, 3], [0, 1]))},
            "17 tokens is longer than max_seq_length=16",
        ),
        ({**ONE_ROW, "labels": {"two": torch.zeros(1)}}, "labels for task 'two', which has no rows"),
        ({**ONE_ROW, "labels": {"three": torch.zeros(2)}}, "task 'three': 1 rows in the batch, 2 labels"),
    ],
)
def test_an_invalid_batch_is_refused(batch: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model()(**batch)


def test_a_conditional_module_outside_of_the_model_is_refused() -> None:
    model = make_model()
    with pytest.raises(RuntimeError, match=r"called outside CaMtlModel\.forward"):
        model.encoder(**{name: ONE_ROW[name] for name in ("input_ids", "attention_mask")})


@pytest.mark.parametrize("attention_blocks", [None, 1, 3, 5, 16])
def test_any_number_of_attention_blocks_works_at_any_width(attention_blocks: int | None) -> None:
    model, rows = make_model(attention_blocks=attention_blocks), make_batch()
    assert model.attention_blocks == (attention_blocks or 2)
    expected = row_logits(model, rows)
    for max_width in (16, 40, 256):
        logits = row_logits(model, rows, pack=True, max_width=max_width)
        for packed, wide in zip(logits, expected, strict=True):
            assert_near(packed, wide)
