"""The numbers of the published implementation, where they are."""

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
    """One recorded run of the published implementation: what its `.json` tells, its tensors, its gradients."""

    told: dict[str, Any]
    tensors: dict[str, Tensor]
    gradients: dict[str, Tensor]


@pytest.fixture(scope="session")
def reference_file() -> Callable[[str], Path]:
    """`reference_file(name)` gives its path, or skips the test."""

    def find(name: str) -> Path:
        if not (REFERENCE / name).is_file():
            pytest.skip(
                f"no {name} in {REFERENCE}: set CAMTL_REFERENCE to the folder of the published numbers"
            )
        return REFERENCE / name

    return find


@pytest.fixture(scope="session", params=["base", "large"])
def reference(request: pytest.FixtureRequest, reference_file: Callable[[str], Path]) -> Reference:
    """The recorded run of a variant."""
    files = [
        reference_file(f"{request.param}_a{end}") for end in (".json", ".safetensors", ".grads.safetensors")
    ]
    gradients = load_file(files[2])
    return Reference(
        json.loads(files[0].read_text()),
        load_file(files[1]),
        {name.removeprefix("grad/"): value for name, value in gradients.items() if name.startswith("grad/")},
    )
