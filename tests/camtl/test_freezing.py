"""Frozen weights do not change in training; all others do."""

import pytest
import torch

from camtl import CaMtlModel
from camtl.freezing import freeze
from tests.camtl.running import make_batch, run_backward
from tests.toy import ENCODER, make_model

FOUR_LAYERS = {**ENCODER, "num_hidden_layers": 4}


def train(model: CaMtlModel) -> set[str]:
    """Runs an optimiser step and returns the names of the parameters that it changes."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    run_backward(model.train(), make_batch())
    torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1).step()
    return {name for name, parameter in model.named_parameters() if not torch.equal(before[name], parameter)}


LAYERS = [f"encoder.layer.{number}." for number in range(4)]
PREFIXES = {  # of the encoder's frozen weights
    "none": (),
    "embeddings": ("embeddings.",),
    "bottom_half": ("embeddings.", *LAYERS[:2]),
    "top_half": tuple(LAYERS[2:]),
    "all": ("",),
    "0-0": ("embeddings.", LAYERS[0]),
    "0-3": ("embeddings.", *LAYERS),
    "1-2": tuple(LAYERS[1:3]),
}


@pytest.mark.parametrize("what", PREFIXES)
@pytest.mark.parametrize("variant", ["base", "none"])
def test_frozen_weights_stay_and_all_others_change(variant: str, what: str) -> None:
    model = make_model(variant, backbone_config=FOUR_LAYERS)
    freeze(model, "all")  # the next call unfreezes it
    freeze(model, what)
    names = {name for name, _ in model.named_parameters()}
    prefixes = tuple(f"encoder.{prefix}" for prefix in PREFIXES[what])
    frozen = {name for name in names if name.startswith(prefixes) and ".film." not in name}
    assert bool(frozen) == (what != "none")
    assert train(model) == names - frozen


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("half", "freeze='half' is not known: use none, all, bottom_half, top_half, embeddings or a range"),
        ("0-4", "the encoder's layers are 0-3"),
        ("3-1", "the encoder's layers are 0-3"),
    ],
)
def test_layers_that_do_not_exist_are_refused(what: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        freeze(make_model("base", backbone_config=FOUR_LAYERS), what)
