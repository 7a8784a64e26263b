"""Recorded numbers of the published implementation, if they are on this machine."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).parents[2]
REFERENCE = Path(os.environ.get("CAMTL_REFERENCE", ROOT.parent / "shared" / "reference"))


@dataclass(frozen=True)
class Reference:
    """One recorded run of the published implementation: settings and scalars, tensors, gradients."""

    record: dict[str, Any]
    tensors: dict[str, Tensor]
    gradients: dict[str, Tensor]


@pytest.fixture(scope="session")
def reference_file() -> Callable[[str], Path]:
    """`reference_file(name)` returns the file's path, or skips the test."""

    def find(name: str) -> Path:
        if not (REFERENCE / name).is_file():
            pytest.skip(f"no {name} in {REFERENCE}: set CAMTL_REFERENCE to the published numbers' folder")
        return REFERENCE / name

    return find


@pytest.fixture(scope="session", params=["base", "large"])
def reference(request: pytest.FixtureRequest, reference_file: Callable[[str], Path]) -> Reference:
    """The recorded run of a variant."""
    prefix = f"{request.param}_a"
    gradients = load_file(reference_file(f"{prefix}.grads.safetensors"))
    return Reference(
        json.loads(reference_file(f"{prefix}.json").read_text()),
        load_file(reference_file(f"{prefix}.safetensors")),
        {name.removeprefix("grad/"): value for name, value in gradients.items() if name.startswith("grad/")},
    )
