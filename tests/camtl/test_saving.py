"""What is saved comes back; what does not fit is named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, BertModel

from camtl import CaMtlConfig, CaMtlModel, HeadSpec
from camtl.freezing import freeze
from tests.camtl.running import assert_near, make_batch, row_logits, run
from tests.toy import NAMES, make_config, make_model, randomise, save_encoder


def trained(backbone: str, what: str = "bottom_half", variant: str = "base") -> CaMtlModel:
    """A model after a step that moves all that is not frozen."""
    torch.manual_seed(0)
    config = make_config(variant, backbone_config=None)
    model = CaMtlModel.from_backbone(backbone, config)
    freeze(model, what)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    loss = run(model, make_batch()).loss
    assert loss is not None
    loss.backward()
    optimizer.step()
    return model.eval()


def assert_same(model: CaMtlModel, loaded: CaMtlModel) -> None:
    state = loaded.state_dict()
    assert set(state) == set(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value), name
    for ours, theirs in zip(
        row_logits(model, make_batch()), row_logits(loaded.eval(), make_batch()), strict=True
    ):
        assert_near(theirs, ours)


def test_the_auto_classes_know_the_model(tmp_path: Path) -> None:
    model = make_model()
    model.save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), CaMtlConfig)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert isinstance(loaded, CaMtlModel)
    assert_same(model, loaded)


@pytest.mark.parametrize("adapters_only", [False, True])
def test_a_model_in_several_files_comes_back(tiny_backbone: str, tmp_path: Path, adapters_only: bool) -> None:
    model = trained(tiny_backbone)
    model.save_pretrained(tmp_path, max_shard_size="20KB", adapters_only=adapters_only)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert_same(model, CaMtlModel.from_pretrained(tmp_path))


@pytest.mark.parametrize("variant", ["base", "large", "none"])
@pytest.mark.parametrize("what", ["all", "bottom_half", "none"])
def test_adapters_hold_what_differs_from_the_backbone_and_no_more(
    tiny_backbone: str, tmp_path: Path, what: str, variant: str
) -> None:
    model = trained(tiny_backbone, what, variant)
    model.save_pretrained(tmp_path, adapters_only=True)
    kept = set(load_file(tmp_path / "model.safetensors"))
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert not kept & frozen
    assert len(kept) + len(frozen) <= len(model.state_dict())
    assert {name for name in model.state_dict() if not name.startswith("encoder.")} <= kept
    assert_same(model, CaMtlModel.from_pretrained(tmp_path))
    assert_same(model, AutoModel.from_pretrained(tmp_path))


def test_a_model_loaded_from_adapters_is_a_whole_one(tiny_backbone: str, tmp_path: Path) -> None:
    model = trained(tiny_backbone, "all")
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    assert model.config.backbone_fingerprint is None
    loaded = CaMtlModel.from_pretrained(tmp_path / "adapters")
    loaded.save_pretrained(tmp_path / "whole")
    assert_same(model, CaMtlModel.from_pretrained(tmp_path / "whole"))
    whole = (tmp_path / "whole" / "model.safetensors").stat().st_size
    assert (tmp_path / "adapters" / "model.safetensors").stat().st_size < whole


def test_adapters_over_another_backbone_are_refused(tmp_path: Path) -> None:
    save_encoder(tmp_path / "encoder")
    model = trained(str(tmp_path / "encoder"))
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    other = BertModel.from_pretrained(tmp_path / "encoder")
    randomise(other, 5)
    other.save_pretrained(tmp_path / "encoder")
    with pytest.raises(
        ValueError, match=r"another version of backbone '.*encoder' than the one installed here"
    ):
        CaMtlModel.from_pretrained(tmp_path / "adapters")


def test_adapters_of_a_model_without_a_backbone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"make it with CaMtlModel\.from_backbone"):
        make_model().save_pretrained(tmp_path, adapters_only=True)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_for_other_tasks_says_which_names_do_not_fit(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path)
    tasks = [*NAMES[:2], "new"]
    heads = {"three": HeadSpec(num_labels=4), "two": HeadSpec(), "new": HeadSpec()}
    with pytest.raises(ValueError, match="does not fit this configuration") as caught:
        CaMtlModel.from_pretrained(tmp_path, config=make_config(tasks=tasks, heads=heads))
    said = str(caught.value)
    assert "missing: heads.new.linear.bias, heads.new.linear.weight" in said
    assert "unexpected: heads.score.linear.bias, heads.score.linear.weight" in said
    assert "of another shape: heads.three.linear.bias, heads.three.linear.weight" in said


def test_a_checkpoint_of_another_variant_says_which_names_do_not_fit(tmp_path: Path) -> None:
    make_model("none").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"missing: alignment\.film\.generator\.bias.* and \d+ more"):
        CaMtlModel.from_pretrained(tmp_path, config=make_config("base"))


def test_a_model_loads_in_half_precision_and_predicts_much_the_same(tmp_path: Path) -> None:
    model, rows = make_model("base"), make_batch()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    model.save_pretrained(tmp_path)
    half = CaMtlModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    for ours, theirs in zip(row_logits(model, rows), row_logits(half, rows), strict=True):
        torch.testing.assert_close(theirs, ours, atol=0.1, rtol=0.1)
