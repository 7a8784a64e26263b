"""The interface between CA-MTL and a pretrained encoder: where the encoder's parts are.

Shape suffixes: S sequences, W tokens a sequence, H hidden, D size of an attention head.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from camtl.packing import PackedBatch

# Rotary cosines and sines of every token, two [S, W, D], by layer type; empty where positions are embedded.
Rotations = Mapping[str, tuple[Tensor, Tensor]]


class Family(ABC):
    """Access to the parts of an encoder, which stays the unchanged transformers model."""

    layers_path: ClassVar[str] = "encoder.layer"  # the submodule that lists the layers, bottom first
    # Names of the dropout rates in the encoder's configuration.
    dropouts: ClassVar[Sequence[str]] = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    has_pooler: ClassVar[bool] = False  # whether the transformers model can have one
    supports_random_top_layer: ClassVar[bool] = True

    def first_position(self, config: PretrainedConfig) -> int:
        """Position number of a row's first token."""
        return 0

    def check(self, config: PretrainedConfig, max_seq_length: int) -> None:
        """Raises ValueError if the encoder has fewer positions than `max_seq_length`."""
        positions = config.max_position_embeddings - self.first_position(config)
        if max_seq_length > positions:
            raise ValueError(
                f"max_seq_length={max_seq_length} is more than the {positions} positions that the backbone has"
            )

    def embeddings(self, encoder: PreTrainedModel) -> nn.ModuleList:
        """The modules before the first layer."""
        return nn.ModuleList([encoder.get_submodule("embeddings")])

    def layers(self, encoder: PreTrainedModel) -> nn.ModuleList:
        """The encoder's layers, bottom first."""
        layers = encoder.get_submodule(self.layers_path)
        assert isinstance(layers, nn.ModuleList)
        return layers

    @abstractmethod
    def norms(self, layer: nn.Module) -> Iterator[tuple[nn.Module, str]]:
        """(owner, attribute name) of every layer norm of a layer."""

    @abstractmethod
    def embed(self, encoder: PreTrainedModel, batch: PackedBatch) -> tuple[Tensor, Rotations]:
        """Embedding output [S, W, H] of a batch, and the rotations that its layers need."""

    def window(self, layer: nn.Module) -> int | None:
        """Number of tokens to either side that a layer attends to; None: the complete encoding."""
        return None

    @abstractmethod
    def run_layer(
        self, layer: nn.Module, hidden: Tensor, bias: Tensor, rotations: Rotations
    ) -> tuple[Tensor, Tensor]:
        """Hidden [S, W, H], additive scores [S, 1, W, W] -> (attention half's output, layer output)."""

    def final_norm(self, encoder: PreTrainedModel, hidden: Tensor) -> Tensor:
        """Applies the norm after the last layer, if the encoder has one, to states [S, W, H]."""
        return hidden
