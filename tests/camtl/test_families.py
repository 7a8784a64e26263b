"""Every supported encoder: conditioned, packed and saved alike, and itself where nothing conditions it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from transformers import AutoConfig, AutoModel, BertConfig, BertForMaskedLM, PreTrainedModel

from camtl import CaMtlModel, PackedBatch
from camtl.backbones import FAMILIES
from camtl.freezing import freeze
from camtl.modules.film import FiLM
from tests.camtl.running import LENGTHS, assert_near, make_batch, row_logits, run
from tests.toy import ENCODERS, MAX_SEQ_LENGTH, gradients, make_config, make_model, make_rows, padded

by_family = pytest.mark.parametrize("family", ENCODERS)
by_variant = pytest.mark.parametrize("variant", ["base", "large", "none"])


def of_family(family: str, variant: str = "base", **changes: Any) -> CaMtlModel:
    return make_model(variant, backbone_config={**ENCODERS[family], "model_type": family}, **changes)


def make_encoder(family: str) -> PreTrainedModel:
    """A plain encoder none of whose weights vanishes."""
    torch.manual_seed(3)
    fields = {name: value for name, value in ENCODERS[family].items() if name != "model_type"}
    encoder = AutoModel.from_config(AutoConfig.for_model(family, **fields)).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.normal_(float("norm.weight" in name.lower()), 0.2)
    return encoder


def without_generators(model: CaMtlModel) -> CaMtlModel:
    """The conditional parts are there, and change nothing: gamma, beta and M(z) are 0."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".film." in name or name.endswith(".matrix"):
                parameter.zero_()
    return model.eval()


def test_a_small_encoder_of_every_family_is_tested() -> None:
    assert set(ENCODERS) == set(FAMILIES)


@by_family
@by_variant
def test_packing_changes_neither_a_row_nor_a_gradient(family: str, variant: str) -> None:
    model, rows = of_family(family, variant), make_batch()
    found = []
    for pack in (False, True):
        model.zero_grad()
        output = run(model, rows, pack=pack, **({"max_width": 48} if pack else {}))
        assert output.loss is not None
        output.loss.backward()
        found.append((output, gradients(model)))
    (wide, expected), (packed, ours) = found
    batch = PackedBatch.pack(rows, max_width=48)
    assert batch.input_ids.shape[0] < len(rows)
    assert wide.last_hidden_state is not None
    assert packed.last_hidden_state is not None
    for row, length in enumerate(LENGTHS):
        assert_near(packed.last_hidden_state[batch.encoding_ids == row], wide.last_hidden_state[row, :length])
    for name, logits in (wide.logits or {}).items():
        assert_near((packed.logits or {})[name], logits, name)
    assert set(ours) == set(expected) == {name for name, _ in model.named_parameters()}
    for name, gradient in expected.items():
        tolerance = 1e-4 * float(gradient.abs().max()) + 1e-5
        torch.testing.assert_close(ours[name], gradient, rtol=0, atol=tolerance, msg=name)


@by_family
@by_variant
def test_neighbours_and_padding_do_not_change_a_row(family: str, variant: str) -> None:
    model, rows = of_family(family, variant), make_batch()
    together = row_logits(model, rows)
    for row in range(len(rows)):
        [alone] = row_logits(model, rows.take(torch.tensor([row]).numpy()))
        assert_near(alone, together[row], f"row {row}")
    narrow = make_rows([5, 7], [0, 1])
    wide = model(**padded(narrow, width=MAX_SEQ_LENGTH)).logits
    for name, logits in model(**padded(narrow)).logits.items():
        assert_near(wide[name], logits, name)


@by_family
@pytest.mark.parametrize("conditions", ["none", "zeroed"])
@pytest.mark.parametrize("pack", [False, True])
def test_without_conditions_the_hidden_states_are_the_plain_encoders(
    family: str, conditions: str, pack: bool, tmp_path: Path
) -> None:
    encoder, rows = make_encoder(family), make_batch()
    encoder.save_pretrained(tmp_path)
    config = make_config("none" if conditions == "none" else "base", bottleneck="none", backbone_config=None)
    model = without_generators(CaMtlModel.from_backbone(str(tmp_path), config))
    assert conditions == "none" or any(isinstance(module, FiLM) for module in model.modules())
    batch = padded(rows)
    wanted = {"input_ids", "attention_mask"} | (
        {"token_type_ids"} if family in ("bert", "electra") else set()
    )
    expected = encoder(**{name: batch[name] for name in wanted}).last_hidden_state
    states = run(model, rows, pack=pack).last_hidden_state
    assert states is not None
    packed = PackedBatch.pack(rows)
    for row, length in enumerate(LENGTHS):
        ours = states[packed.encoding_ids == row] if pack else states[row, :length]
        assert_near(ours, expected[row, :length], f"row {row}")


@by_family
@by_variant
def test_pretrained_weights_are_taken_over_and_new_ones_start_as_specified(
    family: str, variant: str, tmp_path: Path
) -> None:
    encoder = make_encoder(family)
    encoder.save_pretrained(tmp_path)
    model = CaMtlModel.from_backbone(str(tmp_path), make_config(variant, backbone_config=None))
    ours = model.encoder.state_dict()
    for name, value in encoder.state_dict().items():
        assert torch.equal(ours[name], value), name
    new = {
        name: value
        for name, value in model.named_parameters()
        if not (name.startswith("encoder.") and name.removeprefix("encoder.") in encoder.state_dict())
    }
    for name, value in new.items():
        if name.endswith((".bias", ".matrix")):
            assert not value.any(), name
        elif name == "bottleneck_norm.weight":
            assert (value == 1).all()
        else:
            assert 0.01 < float(value.detach().std()) < 0.03, name


@by_family
def test_what_is_saved_comes_back_bit_for_bit(family: str, tmp_path: Path) -> None:
    model, rows = of_family(family, "large"), make_batch()
    model.save_pretrained(tmp_path)
    loaded = CaMtlModel.from_pretrained(tmp_path).eval()
    state = loaded.state_dict()
    assert set(state) == set(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value), name
    for ours, theirs in zip(row_logits(model, rows), row_logits(loaded, rows), strict=True):
        assert_near(theirs, ours)


@by_family
def test_rows_longer_than_the_positions_are_refused(family: str) -> None:
    longest = 64 if family == "bert" else 32
    of_family(family, max_seq_length=longest)
    with pytest.raises(
        ValueError, match=f"max_seq_length={longest + 1} is more than the {longest} positions"
    ):
        of_family(family, max_seq_length=longest + 1)


@by_family
def test_only_what_was_pretrained_can_be_frozen(family: str) -> None:
    model = of_family(family)
    freeze(model, "all")
    pretrained = {name for name, _ in make_encoder(family).named_parameters()}
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {f"encoder.{name}" for name in pretrained}


def test_a_pooler_that_the_backbone_lacks_is_new_and_trains(tmp_path: Path) -> None:
    fields = {name: value for name, value in ENCODERS["bert"].items() if name != "model_type"}
    BertForMaskedLM(BertConfig(**fields)).save_pretrained(tmp_path / "masked")
    model = CaMtlModel.from_backbone(str(tmp_path / "masked"), make_config(backbone_config=None))
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
        CaMtlModel.from_backbone(str(tmp_path), make_config(backbone_config=None))


def test_a_local_layer_sees_no_further_than_its_window() -> None:
    """Layer 1 of the small ModernBERT sees 4 tokens to either side; its global layers see the row."""
    batch = PackedBatch.pack(make_rows([12, 9], [0, 1]), max_width=24)
    seen = batch.attention_mask(4, torch.float32) == 0
    far = (batch.position_ids[:, :, None] - batch.position_ids[:, None]).abs() > 4
    real = batch.encoding_ids >= 0
    assert not (seen & far)[real].any()
    assert (seen.sum(-1)[real] <= 9).all()
    assert ((batch.attention_mask(None, torch.float32) == 0).sum(-1)[real] >= 9).all()


@pytest.mark.parametrize(("family", "variant"), [("bert", "large"), ("modernbert", "base")])
def test_the_encoder_compiles_to_one_graph_for_every_width(family: str, variant: str) -> None:
    model = of_family(family, variant)
    torch.compiler.reset()
    compiled = torch.compile(model.encode, fullgraph=True, dynamic=True, backend="eager")
    before = counters["stats"]["unique_graphs"]
    for lengths in ([5, 16, 3, 9, 12], [4, 7, 11, 14]):
        batch = PackedBatch.pack(make_rows(lengths, [0, 1, 2, 0, 1][: len(lengths)]), max_width=24)
        assert_near(compiled(batch), model.encode(batch))
    assert counters["stats"]["unique_graphs"] == before + 1
