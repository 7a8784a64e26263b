"""Which pretrained weights stay as they are. Conditional parts and heads always train.

The paper freezes the embeddings and the bottom half of the layers. The published code also leaves
the attention's generators of frozen layers untrained, by a name that does not match; here `freeze`
names pretrained weights only.
"""

from collections.abc import Iterator

from torch import nn

from camtl.layer_ranges import layer_range
from camtl.model import CaMtlModel
from camtl.modules import FiLM


def freeze(model: CaMtlModel, what: str) -> None:
    """Freeze pretrained weights of the encoder.

    Args:
        model: the model, changed in place.
        what: `none`, `embeddings`, `bottom_half` (embeddings and the lower half of the layers),
            `top_half`, `all` (the whole pretrained encoder), or a range of layers such as `0-3`, both
            ends included. The embeddings go with layer 0.

    Raises:
        ValueError: `what` is none of these, or names a layer that the encoder does not have.
    """
    layers = model.layers()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    if what == "all":
        _freeze_pretrained(model.encoder)
        return
    frozen = (
        range(0)
        if what == "embeddings"
        else layer_range(what, len(layers), setting="freeze", others=["embeddings"])
    )
    for number in frozen:
        _freeze_pretrained(layers[number])
    if what in ("embeddings", "bottom_half") or 0 in frozen:
        _freeze_pretrained(model.embeddings())


def _freeze_pretrained(module: nn.Module) -> None:
    for part in outside_generators(module):
        for parameter in part.parameters(recurse=False):
            parameter.requires_grad_(False)


def outside_generators(module: nn.Module) -> Iterator[nn.Module]:
    """A module and all below it, without the generators of conditional parts."""
    if isinstance(module, FiLM):
        return
    yield module
    for child in module.children():
        yield from outside_generators(child)
