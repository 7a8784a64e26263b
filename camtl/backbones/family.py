"""What CA-MTL has to know of a pretrained encoder: where its pieces are.

Shape suffixes: B rows, S sequences, W tokens a sequence, H hidden, D size of an attention head.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Protocol

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from camtl.packing import PackedBatch

# Rotary cosines and sines of every token, two [S, W, D], by kind of layer; empty where positions are embedded.
Rotations = Mapping[str, tuple[Tensor, Tensor]]


class Family(Protocol):
    """The pieces of an encoder that CA-MTL touches; the encoder itself is as transformers ships it."""

    has_pooler: ClassVar[bool]
    dropouts: ClassVar[Sequence[str]]

    def check(self, config: PretrainedConfig, max_seq_length: int) -> None:
        """Raises ValueError where the encoder cannot hold rows of `max_seq_length` tokens."""

    def embeddings(self, encoder: PreTrainedModel) -> nn.ModuleList:
        """The modules before the first layer."""

    def layers(self, encoder: PreTrainedModel) -> nn.ModuleList:
        """The encoder's layers, bottom first."""

    def norms(self, layer: nn.Module) -> Iterator[tuple[nn.Module, str]]:
        """(owner, attribute name) of every layer norm of a layer."""

    def embed(self, encoder: PreTrainedModel, batch: PackedBatch) -> tuple[Tensor, Rotations]:
        """Embedding output [S, W, H] of a batch, and what its layers need beside it."""

    def window(self, layer: nn.Module) -> int | None:
        """How far a token of a layer sees to either side; None is as far as its row goes."""

    def run_layer(
        self, layer: nn.Module, hidden: Tensor, bias: Tensor, rotations: Rotations
    ) -> tuple[Tensor, Tensor]:
        """Hidden [S, W, H], additive scores [S, 1, W, W] -> (attention half's output, layer output)."""

    def read(self, encoder: PreTrainedModel, hidden: Tensor) -> Tensor:
        """A layer's states [S, W, H] as what comes after the encoder reads them."""
