"""A saved model loads with equal weights; a checkpoint that does not fit names the weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, RepoUrl
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, BertModel

from camtl import CaMtlConfig, CaMtlModel, HeadSpec
from camtl.freezing import freeze
from tests.camtl.running import assert_same_model, make_batch, row_logits, run_backward
from tests.toy import ENCODERS, HEADS, NAMES, make_config, make_model, randomise, save_encoder


def train_one_step(backbone: str, what: str = "bottom_half", variant: str = "base") -> CaMtlModel:
    """A model after a step that changes all weights that are not frozen."""
    torch.manual_seed(0)
    model = CaMtlModel.from_backbone(backbone, make_config(variant, backbone_config=None))
    freeze(model, what)
    run_backward(model, make_batch())
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5).step()
    return model.eval()


@pytest.mark.parametrize("family", ENCODERS)
def test_a_saved_model_loads_bit_for_bit_and_the_auto_classes_know_it(family: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"task_embedding_size": 12, "attention_blocks": 3, "dropout": 0.25}
    model = make_model("large", conditional_alignment=False, backbone_config=ENCODERS[family], **changes)
    model.save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), CaMtlConfig)
    for loaded in (CaMtlModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert isinstance(loaded, CaMtlModel)
        for name in (*changes, "conditional_alignment", "bottleneck", "tasks", "max_seq_length"):
            assert getattr(loaded.config, name) == getattr(model.config, name), name
        assert {name: loaded.config.head_spec(name) for name in NAMES} == HEADS
        assert_same_model(model, loaded)


@pytest.mark.parametrize("adapters_only", [False, True])
def test_a_model_in_several_files_loads(tiny_backbone: str, tmp_path: Path, adapters_only: bool) -> None:
    model = train_one_step(tiny_backbone)
    model.save_pretrained(tmp_path, max_shard_size="20KB", adapters_only=adapters_only)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert_same_model(model, CaMtlModel.from_pretrained(tmp_path))


@pytest.mark.parametrize(
    ("what", "variant"), [("all", "base"), ("all", "large"), ("bottom_half", "none"), ("none", "base")]
)
def test_adapters_are_what_differs_from_the_backbone(
    tiny_backbone: str, tmp_path: Path, what: str, variant: str
) -> None:
    model = train_one_step(tiny_backbone, what, variant)
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    assert model.config.backbone_fingerprint is None
    saved = set(load_file(tmp_path / "adapters" / "model.safetensors"))
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert not saved & frozen
    assert len(saved) + len(frozen) <= len(model.state_dict())
    assert {name for name in model.state_dict() if not name.startswith("encoder.")} <= saved
    assert_same_model(model, AutoModel.from_pretrained(tmp_path / "adapters"))
    loaded = CaMtlModel.from_pretrained(tmp_path / "adapters")
    loaded.save_pretrained(tmp_path / "complete")
    assert_same_model(model, CaMtlModel.from_pretrained(tmp_path / "complete"))


def test_adapters_with_another_backbone_are_refused(tmp_path: Path) -> None:
    save_encoder(tmp_path / "encoder")
    model = train_one_step(str(tmp_path / "encoder"))
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    other = BertModel.from_pretrained(tmp_path / "encoder")
    randomise(other, 5)
    other.save_pretrained(tmp_path / "encoder")
    with pytest.raises(ValueError, match=r"another version of backbone '.*encoder' than the one installed"):
        CaMtlModel.from_pretrained(tmp_path / "adapters")


def test_adapters_of_a_model_without_a_backbone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"make it with CaMtlModel\.from_backbone"):
        make_model().save_pretrained(tmp_path, adapters_only=True)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_for_other_tasks_names_the_weights_that_do_not_fit(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path)
    heads = {"three": HeadSpec(num_labels=4), "two": HeadSpec(), "new": HeadSpec()}
    with pytest.raises(ValueError, match="does not fit this configuration") as caught:
        CaMtlModel.from_pretrained(tmp_path, config=make_config(tasks=list(heads), heads=heads))
    message = str(caught.value)
    assert "missing: heads.new.linear.bias, heads.new.linear.weight" in message
    assert "unexpected: heads.score.linear.bias, heads.score.linear.weight" in message
    assert "of another shape: heads.three.linear.bias, heads.three.linear.weight" in message


def test_a_checkpoint_of_another_variant_names_the_weights_that_do_not_fit(tmp_path: Path) -> None:
    make_model("none").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"missing: alignment\.film\.generator\.bias.* and \d+ more"):
        CaMtlModel.from_pretrained(tmp_path, config=make_config("base"))


def test_a_model_in_half_precision_predicts_almost_the_same(tmp_path: Path) -> None:
    model, rows = make_model("base"), make_batch()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    model.save_pretrained(tmp_path)
    half = CaMtlModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    for expected, logits in zip(row_logits(model, rows), row_logits(half, rows), strict=True):
        torch.testing.assert_close(logits, expected, atol=0.1, rtol=0.1)


def test_the_files_pushed_to_the_hub_are_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("large")

    def create_commit(*_: Any, operations: list[CommitOperationAdd], **__: Any) -> None:
        for operation in operations:
            with operation.as_file() as file:
                (tmp_path / operation.path_in_repo).write_bytes(file.read())

    url = RepoUrl("https://huggingface.co/someone/model")
    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: url)
    monkeypatch.setattr(HfApi, "create_commit", create_commit)
    monkeypatch.setattr(ModelCard, "load", lambda *_, **__: ModelCard("# A model"))
    model.push_to_hub("someone/model", token="hf_test")  # type: ignore[arg-type]  # the stub drops self
    assert_same_model(model, CaMtlModel.from_pretrained(tmp_path))
