"""The model's behaviour: packing, neighbours and the order of rows change nothing; what is saved comes back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModel, BertModel

from camtl import CaMtlModel, HeadSpec, PackedBatch
from tests.camtl.running import LENGTHS, TASK_IDS, assert_near, make_batch, row_logits, run
from tests.toy import HEADS, MAX_SEQ_LENGTH, NAMES, gradients, make_config, make_model, make_rows, padded

VARIANTS = ("base", "large", "none")
by_variant = pytest.mark.parametrize("variant", VARIANTS)


@by_variant
@pytest.mark.parametrize("max_width", [16, 40, 256])
def test_a_packed_batch_gives_each_row_what_the_padded_one_gives(variant: str, max_width: int) -> None:
    model, rows = make_model(variant), make_batch()
    wide = run(model, rows)
    assert wide.loss is not None
    wide.loss.backward()
    expected = gradients(model)
    model.zero_grad()
    packed = run(model, rows, pack=True, max_width=max_width)
    assert packed.loss is not None
    packed.loss.backward()
    found = gradients(model)
    batch = PackedBatch.pack(rows, max_width=max_width)
    assert batch.input_ids.shape[0] < len(rows)
    for name, logits in (wide.logits or {}).items():
        assert_near((packed.logits or {})[name], logits, name)
    assert wide.last_hidden_state is not None
    assert packed.last_hidden_state is not None
    assert wide.pooler_output is not None
    assert packed.pooler_output is not None
    assert_near(packed.pooler_output, wide.pooler_output)
    for row, length in enumerate(LENGTHS):
        assert_near(packed.last_hidden_state[batch.encoding_ids == row], wide.last_hidden_state[row, :length])
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        tolerance = 1e-4 * float(gradient.abs().max()) + 1e-5
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=tolerance)


@by_variant
def test_neighbours_and_the_order_of_rows_do_not_change_a_row(variant: str) -> None:
    model, rows = make_model(variant), make_batch()
    together = row_logits(model, rows)
    for row in range(len(rows)):
        [alone] = row_logits(model, rows.take(np.asarray([row])))
        assert_near(alone, together[row], f"row {row}")
    order = np.asarray([6, 1, 3, 0, 7, 2, 5, 4])
    for pack in (False, True):
        for place, logits in zip(order, row_logits(model, rows.take(order), pack=pack), strict=True):
            assert_near(logits, together[place], f"row {place}")


@by_variant
def test_padding_up_to_any_width_does_not_change_a_row(variant: str) -> None:
    model, rows = make_model(variant), make_rows([5, 7], [0, 1])
    narrow = model(**padded(rows)).logits
    wide = model(**padded(rows, width=MAX_SEQ_LENGTH)).logits
    for name in narrow:
        assert_near(wide[name], narrow[name], name)


@pytest.mark.parametrize("variant", ["base", "large"])
def test_the_same_tokens_mean_something_else_for_another_task(variant: str) -> None:
    model, rows = make_model(variant), make_rows([8], [0])
    batch = padded(rows)
    hidden = [
        model(**{**batch, "task_ids": torch.tensor([task])}).pooler_output for task in range(len(NAMES))
    ]
    assert not torch.allclose(hidden[0], hidden[1], atol=1e-2)
    assert not torch.allclose(hidden[1], hidden[2], atol=1e-2)


@pytest.mark.parametrize(
    "switched",
    [
        {"conditional_attention": True},
        {"conditional_alignment": True},
        {"conditional_layer_norm": True},
        {"bottleneck": "top"},
        {"bottleneck": "all"},
    ],
    ids=lambda switched: "-".join(map(str, *switched.items())),
)
def test_every_conditional_part_conditions_on_its_own(switched: dict[str, Any]) -> None:
    model, rows = make_model("none", **switched), make_rows([8], [0])
    batch = padded(rows)
    first, second = (model(**{**batch, "task_ids": torch.tensor([task])}).pooler_output for task in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)
    run(model, make_batch()).loss.backward()  # type: ignore[union-attr]
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert unused == [], "DistributedDataParallel would wait for these for ever"


def test_without_conditions_the_model_is_bert_with_heads(tiny_backbone: str) -> None:
    model = CaMtlModel.from_backbone(tiny_backbone, make_config("none", backbone_config=None)).eval()
    bert = BertModel.from_pretrained(tiny_backbone).eval()
    rows = make_batch()
    batch = padded(rows)
    expected = bert(**{name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")})
    output = run(model, rows)
    assert output.last_hidden_state is not None
    assert output.pooler_output is not None
    real = batch["attention_mask"].bool()
    assert_near(output.last_hidden_state[real], expected.last_hidden_state[real])
    assert_near(output.pooler_output, expected.pooler_output)
    head = model.heads["two"].linear
    assert_near(
        (output.logits or {})["two"], expected.pooler_output[rows.task_ids == 1] @ head.weight.T + head.bias
    )
    assert set(model.encoder.state_dict()) == set(bert.state_dict())


@by_variant
def test_pretrained_weights_are_taken_over(variant: str, tiny_backbone: str) -> None:
    model = CaMtlModel.from_backbone(tiny_backbone, make_config(variant, backbone_config=None))
    ours = model.encoder.state_dict()
    for name, value in BertModel.from_pretrained(tiny_backbone).state_dict().items():
        assert torch.equal(ours[name], value), name
    assert model.config.backbone == tiny_backbone


def test_the_top_layer_starts_from_random_weights_only_where_asked_to(tiny_backbone: str) -> None:
    pretrained = BertModel.from_pretrained(tiny_backbone).state_dict()
    model = CaMtlModel.from_backbone(tiny_backbone, make_config(backbone_config=None, random_top_layer=True))
    taken = {
        name for name, value in pretrained.items() if torch.equal(model.encoder.state_dict()[name], value)
    }
    top = {name for name in pretrained if "layer.1." in name and name.endswith("dense.weight")}
    assert top
    assert not top & taken
    assert {name for name in pretrained if "layer.1." not in name} <= taken


@by_variant
def test_what_is_saved_comes_back_bit_for_bit(variant: str, tmp_path: Path) -> None:
    model, rows = make_model(variant, task_embedding_size=12), make_batch()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    for loaded in (CaMtlModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert loaded.config.tasks == list(NAMES)
        assert {name: loaded.config.head_spec(name) for name in NAMES} == HEADS
        state = loaded.state_dict()
        assert set(state) == set(model.state_dict())
        for name, value in model.state_dict().items():
            assert torch.equal(state[name], value), name
        for ours, theirs in zip(row_logits(model, rows), row_logits(loaded.eval(), rows), strict=True):
            assert_near(theirs, ours)  # how memory is aligned decides the last bit


def test_the_order_of_tasks_survives_saving(tmp_path: Path) -> None:
    tasks = ["zebra", "ant", "monkey"]
    heads = {name: HeadSpec(num_labels=2 + place) for place, name in enumerate(tasks)}
    make_model(tasks=tasks, heads=heads).save_pretrained(tmp_path)
    assert CaMtlModel.from_pretrained(tmp_path).config.tasks == tasks


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable")
@by_variant
def test_recomputed_layers_give_the_same_gradients(variant: str) -> None:
    model, rows = make_model(variant), make_batch()
    model.train()
    found = []
    for recompute in (False, True):
        if recompute:
            model.gradient_checkpointing_enable()
            assert model.gradient_checkpointing
        model.zero_grad()
        run(model, rows, pack=True).loss.backward()  # type: ignore[union-attr]
        found.append(gradients(model))
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable")
def test_recomputing_finds_the_tasks_of_its_own_batch() -> None:
    """Two forward passes before the backward passes: the second must not leave its tasks to the first."""
    model, rows = make_model("base"), make_batch()
    other = make_rows(LENGTHS, TASK_IDS[::-1], seed=5)
    model.train()
    found = []
    for recompute in (False, True):
        if recompute:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        first, second = run(model, rows), run(model, other)
        assert first.loss is not None
        assert second.loss is not None
        first.loss.backward()
        second.loss.backward()
        found.append(gradients(model))
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_mean_over_the_tasks_with_labels() -> None:
    model, rows = make_model(), make_batch()
    output = run(model, rows)
    assert output.task_losses is not None
    assert output.loss is not None
    assert set(output.task_losses) == set(NAMES)
    assert output.loss.item() == pytest.approx(np.mean([loss.item() for loss in output.task_losses.values()]))
    some = model(**padded(rows), labels={"two": rows.labels_by_task(NAMES)["two"]})
    assert some.loss.item() == pytest.approx(output.task_losses["two"].item())
    assert set(some.logits) == set(NAMES)
    assert model(**padded(rows)).loss is None
    assert model(**padded(rows)).task_losses is None


def test_tasks_without_rows_have_no_logits() -> None:
    output = run(make_model(), make_rows([4, 5], [1, 1]))
    assert set(output.logits or {}) == {"two"}
    assert set(output.task_losses or {}) == {"two"}


def test_a_batch_without_mask_and_token_types_is_all_tokens_of_the_first_kind() -> None:
    model, rows = make_model(), make_rows([8, 8], [0, 1])
    batch = padded(rows)
    batch["token_type_ids"].zero_()
    full = model(**batch).logits
    bare = model(input_ids=batch["input_ids"], task_ids=batch["task_ids"]).logits
    for name in full:
        assert torch.equal(full[name], bare[name])


def _batch_without(*names: str) -> dict[str, Tensor]:
    return {name: value for name, value in padded(make_batch()).items() if name not in names}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (lambda: _batch_without("task_ids"), "pass input_ids with task_ids"),
        (lambda: _batch_without("input_ids"), "pass input_ids with task_ids"),
        (
            lambda: {**padded(make_rows([4], [0])), "task_ids": torch.tensor([3])},
            r"task id 3 is outside 0\.\.2",
        ),
        (
            lambda: {**padded(make_rows([4], [0])), "task_ids": torch.tensor([-1])},
            r"task id -1 is outside 0\.\.2",
        ),
        (lambda: padded(make_rows([4], [0]), width=17), "17 tokens is longer than max_seq_length=16"),
        (
            lambda: {**padded(make_rows([4], [0])), "labels": {"two": torch.zeros(1)}},
            "labels for task 'two', which has no rows",
        ),
        (
            lambda: {**padded(make_rows([4], [0])), "labels": {"three": torch.zeros(2)}},
            "task 'three': 1 rows in the batch, 2 labels",
        ),
    ],
)
def test_a_batch_that_makes_no_sense_is_named(arguments: Callable[[], dict[str, Any]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make_model()(**arguments())


def test_a_packed_row_that_is_too_long_is_named() -> None:
    with pytest.raises(ValueError, match="17 tokens is longer than max_seq_length=16"):
        make_model()(packed=PackedBatch.pack(make_rows([17, 3], [0, 1])))


@by_variant
def test_rows_longer_than_the_learnt_positions_are_refused(variant: str) -> None:
    with pytest.raises(ValueError, match="max_seq_length=65 is more than the 64 positions"):
        make_model(variant, max_seq_length=65)


@pytest.mark.parametrize("blocks", [None, 1, 3, 5, 16])
def test_any_number_of_attention_blocks_works_at_any_width(blocks: int | None) -> None:
    model, rows = make_model(attention_blocks=blocks), make_batch()
    assert model.attention_blocks == (blocks or 2)
    for wide, packed in zip(row_logits(model, rows), row_logits(model, rows, pack=True), strict=True):
        assert_near(packed, wide)


def test_a_small_task_embedding_saves_most_of_the_generators() -> None:
    full, small = make_model(), make_model(task_embedding_size=4)
    assert small.task_embedding.weight.shape == (3, 4)
    encoder = sum(parameter.numel() for parameter in BertModel(small.encoder.config).parameters())
    added = [sum(p.numel() for p in model.parameters()) - encoder for model in (full, small)]
    assert added[1] < added[0] / 2
    assert_near(
        torch.stack(row_logits(small, make_rows([5, 4], [1, 1]))),
        torch.stack(row_logits(small, make_rows([5, 4], [1, 1]), pack=True)),
    )


def test_a_bottleneck_of_no_width_is_refused() -> None:
    with pytest.raises(
        ValueError, match="bottleneck_reduction=33 leaves nothing of the backbone's hidden size 32"
    ):
        make_model(bottleneck_reduction=33)
