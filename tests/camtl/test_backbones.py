"""Which encoders can be used, and the errors for all others."""

from pathlib import Path

import pytest
from transformers import DistilBertConfig, DistilBertModel

from camtl import CaMtlModel
from camtl.backbones import check_weights, resolve_backbone
from tests.toy import make_config, save_encoder


def test_another_family_is_refused_and_the_supported_ones_are_listed(tmp_path: Path) -> None:
    config = DistilBertConfig(vocab_size=60, dim=32, n_layers=1, n_heads=2, hidden_dim=32)
    DistilBertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="backbone family 'distilbert' is not supported: use one of bert"):
        CaMtlModel.from_backbone(str(tmp_path), make_config(backbone_config=None))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)) as caught:
        CaMtlModel.from_backbone(str(tmp_path / "absent"), make_config(backbone_config=None))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("package:no-such-encoder", "the package is not installed; run `pip install no-such-encoder`"),
        ("package:yaml", r"backbone 'package:yaml': the package contains no model\.safetensors"),
        ("package:", "backbone 'package:': '' is not a package name"),
    ],
)
def test_a_package_without_a_model_is_refused(backbone: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_backbone(backbone)


def test_a_package_with_a_model_resolves_to_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "some_encoder" / "model"
    weights.mkdir(parents=True)
    (weights.parent / "__init__.py").touch()
    (weights / "model.safetensors").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolve_backbone("package:some-encoder") == str(weights)
    assert resolve_backbone("bert-base-cased") == "bert-base-cased"


def test_missing_and_damaged_weights_are_refused(tmp_path: Path) -> None:
    check_weights("an-id-of-the-hub")
    save_encoder(tmp_path)
    check_weights(str(tmp_path))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read .* fetch it again"):
        check_weights(str(tmp_path))
    weights.unlink()
    with pytest.raises(ValueError, match=r"has no weights: there is no model\.safetensors"):
        check_weights(str(tmp_path))
