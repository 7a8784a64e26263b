"""Freezing of pretrained weights. Conditional parts and heads always train.

The paper freezes the embeddings and the bottom half of the layers. The published code also leaves the generators
(FiLM) of the attention in frozen layers untrained, because of a name that does not match; here `freeze` affects
pretrained weights only.
"""

from collections.abc import Iterator

from torch import nn

from camtl.layer_ranges import layer_range
from camtl.model import CaMtlModel
from camtl.modules.film import FiLM


def freeze(model: CaMtlModel, what: str) -> None:
    """Freezes pretrained weights of the encoder, and unfreezes all other weights.

    Args:
        model: changed in place.
        what: `none`, `embeddings`, `bottom_half` (embeddings and the lower half of the layers),
            `top_half`, `all` (the complete pretrained encoder), or a range of layers such as `0-3`, both
            ends included. A range with layer 0 includes the embeddings.

    Raises:
        ValueError: `what` is none of these, or the encoder has no such layer.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    layers = model.layers()
    frozen: list[nn.Module] | None = {"all": [model.encoder], "embeddings": [model.embeddings()]}.get(what)
    if frozen is None:
        numbers = layer_range(what, len(layers), setting="freeze", other_words=["embeddings"])
        frozen = [layers[number] for number in numbers]
        if what == "bottom_half" or 0 in numbers:
            frozen.append(model.embeddings())
    for module in frozen:
        for parameter in pretrained_parameters(module):
            parameter.requires_grad_(False)


def pretrained_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yields a module's parameters without those of the conditional parts' generators."""
    if not isinstance(module, FiLM):
        yield from module.parameters(recurse=False)
        for child in module.children():
            yield from pretrained_parameters(child)
