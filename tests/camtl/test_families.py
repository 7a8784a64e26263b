"""Every supported encoder: packing, neighbours and padding change nothing; without conditions it is itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, PreTrainedModel

from camtl import CaMtlModel, PackedBatch
from camtl.backbones import FAMILIES
from camtl.freezing import freeze
from camtl.modules.film import FiLM
from tests.camtl.running import LENGTHS, assert_near, make_batch, row_logits, run, run_backward
from tests.toy import (
    ENCODERS,
    MAX_SEQ_LENGTH,
    gradients,
    make_config,
    make_model,
    make_rows,
    padded,
    randomise,
)

by_family = pytest.mark.parametrize("family", ENCODERS)
by_variant = pytest.mark.parametrize("variant", ["base", "large", "none"])


def of_family(family: str, variant: str = "base", **changes: Any) -> CaMtlModel:
    return make_model(variant, backbone_config=ENCODERS[family], **changes)


def make_encoder(family: str) -> PreTrainedModel:
    """A plain encoder with random weights, none of them 0."""
    encoder = AutoModel.from_config(AutoConfig.for_model(**ENCODERS[family])).eval()
    randomise(encoder, 3)
    return encoder


def from_folder(folder: Path, variant: str = "base", **changes: Any) -> CaMtlModel:
    return CaMtlModel.from_backbone(str(folder), make_config(variant, backbone_config=None, **changes))


def test_a_small_encoder_of_every_family_is_tested() -> None:
    assert set(ENCODERS) == set(FAMILIES)


@by_family
@by_variant
def test_packing_changes_neither_a_row_nor_a_gradient(family: str, variant: str) -> None:
    model, rows = of_family(family, variant), make_batch()
    wide = run_backward(model, rows)
    expected = gradients(model)
    packed = run_backward(model, rows, pack=True, max_width=48)
    actual = gradients(model)
    batch = PackedBatch.pack(rows, max_width=48)
    assert batch.input_ids.shape[0] < len(rows)
    for row, length in enumerate(LENGTHS):
        assert_near(packed.last_hidden_state[batch.encoding_ids == row], wide.last_hidden_state[row, :length])
    for name, logits in wide.logits.items():
        assert_near(packed.logits[name], logits, name)
    # DistributedDataParallel waits forever for a parameter without a gradient.
    assert set(actual) == set(expected) == {name for name, _ in model.named_parameters()}
    for name, gradient in expected.items():
        tolerance = 1e-4 * float(gradient.abs().max()) + 1e-5
        torch.testing.assert_close(actual[name], gradient, rtol=0, atol=tolerance, msg=name)


@by_family
@by_variant
def test_neighbours_order_and_padding_do_not_change_a_row(family: str, variant: str) -> None:
    model, rows = of_family(family, variant), make_batch()
    together = row_logits(model, rows)
    for row in range(len(rows)):
        [alone] = row_logits(model, rows.take(np.asarray([row])))
        assert_near(alone, together[row], f"row {row}")
    order = np.asarray([6, 1, 3, 0, 7, 2, 5, 4])
    for row, logits in zip(order, row_logits(model, rows.take(order), pack=True), strict=True):
        assert_near(logits, together[row], f"row {row}")
    narrow = make_rows([5, 7], [0, 1])
    wide = model(**padded(narrow, width=MAX_SEQ_LENGTH)).logits
    for name, logits in model(**padded(narrow)).logits.items():
        assert_near(wide[name], logits, name)


@by_family
@pytest.mark.parametrize("conditions", ["none", "zeroed"])
def test_without_conditions_the_hidden_states_are_the_plain_encoders(
    family: str, conditions: str, tmp_path: Path
) -> None:
    encoder, rows = make_encoder(family), make_batch()
    encoder.save_pretrained(tmp_path)
    model = from_folder(tmp_path, "none" if conditions == "none" else "base", bottleneck="none").eval()
    assert conditions == "none" or any(isinstance(module, FiLM) for module in model.modules())
    with torch.no_grad():  # gamma, beta and M(z) are 0, so the conditional parts change nothing
        for name, parameter in model.named_parameters():
            if ".film." in name or name.endswith(".matrix"):
                parameter.zero_()
    names = ["input_ids", "attention_mask"] + ["token_type_ids"] * (family in ("bert", "electra"))
    batch = padded(rows)
    plain = encoder(**{name: batch[name] for name in names})
    wide, packed = (run(model, rows, pack=pack) for pack in (False, True))
    encoding_ids = PackedBatch.pack(rows).encoding_ids
    for row, length in enumerate(LENGTHS):
        expected = plain.last_hidden_state[row, :length]
        assert_near(wide.last_hidden_state[row, :length], expected, f"row {row}")
        assert_near(packed.last_hidden_state[encoding_ids == row], expected, f"row {row}, packed")
    if family == "bert":
        assert_near(wide.pooler_output, plain.pooler_output)
        head = model.heads["two"].linear
        pooled = plain.pooler_output[rows.task_ids == 1]
        assert_near(wide.logits["two"], pooled @ head.weight.T + head.bias)


@by_family
@by_variant
def test_pretrained_weights_load_and_new_ones_start_as_specified(
    family: str, variant: str, tmp_path: Path
) -> None:
    encoder = make_encoder(family)
    encoder.save_pretrained(tmp_path)
    model = from_folder(tmp_path, variant)
    assert model.config.backbone == str(tmp_path)
    pretrained = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    for name, value in pretrained.items():
        assert torch.equal(model.state_dict()[name], value), name
    freeze(model, "all")
    for name, value in model.named_parameters():
        assert value.requires_grad == (name not in pretrained), "only pretrained weights are frozen"
        if name in pretrained:
            continue
        if name.endswith((".bias", ".matrix")):
            assert not value.any(), name
        elif name == "bottleneck_norm.weight":
            assert (value == 1).all()
        else:
            assert 0.01 < float(value.detach().std()) < 0.03, name


@by_family
def test_rows_longer_than_the_positions_are_refused(family: str) -> None:
    longest = 64 if family == "bert" else 32
    of_family(family, max_seq_length=longest)
    message = f"max_seq_length={longest + 1} is more than the {longest} positions"
    with pytest.raises(ValueError, match=message):
        of_family(family, max_seq_length=longest + 1)


@by_family
def test_the_top_layer_starts_from_random_weights_on_request(family: str, tmp_path: Path) -> None:
    encoder = make_encoder(family)
    encoder.save_pretrained(tmp_path)
    if family == "modernbert":
        for make in (CaMtlModel.from_backbone, CaMtlModel.shaped_like):
            with pytest.raises(
                ValueError, match="random_top_layer is not supported for backbone family 'mod"
            ):
                make(str(tmp_path), make_config(backbone_config=None, random_top_layer=True))
        return
    state = from_folder(tmp_path, random_top_layer=True).encoder.state_dict()
    pretrained = encoder.state_dict()
    loaded = {name for name, value in pretrained.items() if torch.equal(state[name], value)}
    top = {name for name in pretrained if "layer.1." in name and name.endswith("dense.weight")}
    assert top
    assert not top & loaded
    assert {name for name in pretrained if "layer.1." not in name} <= loaded


def test_a_pooler_that_the_backbone_lacks_is_new_and_trains(tmp_path: Path) -> None:
    AutoModelForMaskedLM.from_config(AutoConfig.for_model(**ENCODERS["bert"])).save_pretrained(
        tmp_path / "masked"
    )
    model = from_folder(tmp_path / "masked")
    assert model.config.new_pooler
    freeze(model, "all")
    poolers = {name for name, parameter in model.named_parameters() if "pooler" in name}
    assert poolers == {"pooler.0.weight", "pooler.0.bias"}
    assert all(parameter.requires_grad for parameter in model.pooler.parameters())
    model.save_pretrained(tmp_path / "saved")
    assert isinstance(CaMtlModel.from_pretrained(tmp_path / "saved").pooler, nn.Sequential)


def test_a_backbone_without_some_of_its_own_weights_is_refused(tmp_path: Path) -> None:
    encoder = make_encoder("bert")
    state = {name: value for name, value in encoder.state_dict().items() if "layer.1.output" not in name}
    encoder.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match=r"lacks weights of its own encoder: encoder\.layer\.1\.output"):
        from_folder(tmp_path)


def test_a_local_layer_sees_no_further_than_its_window() -> None:
    """Layer 1 of the small ModernBERT sees 4 tokens to either side; its global layers see the complete row."""
    batch = PackedBatch.pack(make_rows([12, 9], [0, 1]), max_width=24)
    visible = batch.attention_mask(4, torch.float32) == 0
    far = (batch.position_ids[:, :, None] - batch.position_ids[:, None]).abs() > 4
    real = batch.encoding_ids >= 0
    assert not (visible & far)[real].any()
    assert (visible.sum(-1)[real] <= 9).all()
    assert ((batch.attention_mask(None, torch.float32) == 0).sum(-1)[real] >= 9).all()


@pytest.mark.parametrize(
    ("family", "variant"),
    [("bert", "large"), pytest.param("modernbert", "base", marks=pytest.mark.slow)],
)
def test_the_encoder_compiles_to_one_graph_for_every_width(family: str, variant: str) -> None:
    model = of_family(family, variant)
    torch.compiler.reset()
    compiled = torch.compile(model.encode, fullgraph=True, dynamic=True, backend="eager")
    before = counters["stats"]["unique_graphs"]
    for lengths in ([5, 16, 3, 9, 12], [4, 7, 11, 14]):
        batch = PackedBatch.pack(make_rows(lengths, [0, 1, 2, 0, 1][: len(lengths)]), max_width=24)
        assert_near(compiled(batch), model.encode(batch))
    assert counters["stats"]["unique_graphs"] == before + 1
