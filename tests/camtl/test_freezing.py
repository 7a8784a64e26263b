"""Freezing, told by which parameters move when the model is trained."""

import pytest
import torch

from camtl import CaMtlModel, PackedBatch
from camtl.freezing import freeze
from pipeline.training.learner import make_optimizer
from tests.toy import ENCODER, make_model, make_rows

FOUR_LAYERS = {**ENCODER, "num_hidden_layers": 4}
ROWS = make_rows([5, 9, 7, 4], [0, 1, 2, 0])


def moved(model: CaMtlModel) -> set[str]:
    """Names of the parameters that a step of the optimiser changes."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, learning_rate=1e-2, new_parameters_learning_rate=1e-2, weight_decay=0.1)
    model.train()
    model(packed=PackedBatch.pack(ROWS), labels=ROWS.labels_by_task(model.config.tasks)).loss.backward()
    optimizer.step()
    return {name for name, parameter in model.named_parameters() if not torch.equal(before[name], parameter)}


def pretrained(model: CaMtlModel, *places: str) -> set[str]:
    """Names of the encoder's own weights below any of these places."""
    return {
        name
        for name, _ in model.named_parameters()
        if name.startswith(tuple(f"encoder.{place}" for place in places)) and ".film." not in name
    }


LAYERS = [f"encoder.layer.{number}." for number in range(4)]
PLACES = {
    "none": (),
    "embeddings": ("embeddings.",),
    "bottom_half": ("embeddings.", *LAYERS[:2]),
    "all": ("",),
    "0-0": ("embeddings.", LAYERS[0]),
    "0-3": ("embeddings.", *LAYERS),
    "1-2": tuple(LAYERS[1:3]),
}


@pytest.mark.parametrize("what", PLACES)
@pytest.mark.parametrize("variant", ["base", "large", "none"])
def test_frozen_weights_stay_and_all_others_move(variant: str, what: str) -> None:
    model = make_model(variant, backbone_config=FOUR_LAYERS)
    freeze(model, what)
    frozen = pretrained(model, *PLACES[what])
    assert bool(frozen) == (what != "none")
    assert moved(model) == {name for name, _ in model.named_parameters()} - frozen


def test_generators_inside_frozen_layers_train() -> None:
    model = make_model("base", backbone_config=FOUR_LAYERS)
    freeze(model, "all")
    inside = {name for name, p in model.named_parameters() if name.startswith("encoder.") and p.requires_grad}
    assert inside
    assert all(".film." in name for name in inside)


def test_freezing_again_lets_go_what_was_frozen_before() -> None:
    model = make_model("base")
    freeze(model, "all")
    freeze(model, "none")
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("half", "freeze='half' is not known: use none, all, bottom_half, top_half, embeddings or a range"),
        ("0-4", "the encoder's layers are 0-3"),
        ("3-1", "the encoder's layers are 0-3"),
    ],
)
def test_what_cannot_be_frozen_is_named(what: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        freeze(make_model("base", backbone_config=FOUR_LAYERS), what)
