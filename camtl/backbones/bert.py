"""BERT and the encoders built like it: post-norm, learnt positions."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from camtl.backbones.family import Rotations
from camtl.packing import PackedBatch


class Bert:
    """`transformers.BertModel`: where the paper's parts stand.

    Alignment behind the embeddings; M(z) added to every layer's attention scores; the norms behind
    both halves of the top half's layers; the bottleneck behind the last layer's output norm.
    """

    has_pooler: ClassVar[bool] = True
    dropouts: ClassVar[Sequence[str]] = ("hidden_dropout_prob", "attention_probs_dropout_prob")

    def first_position(self, config: PretrainedConfig) -> int:
        """Position number of a row's first token."""
        return 0

    def check(self, config: PretrainedConfig, max_seq_length: int) -> None:
        """Raises ValueError where rows would be longer than the positions that were learnt."""
        positions = config.max_position_embeddings - self.first_position(config)
        if max_seq_length > positions:
            raise ValueError(
                f"max_seq_length={max_seq_length} is more than the {positions} positions that the backbone has"
            )

    def embeddings(self, encoder: PreTrainedModel) -> nn.ModuleList:
        """Word, position and segment embeddings with their norm."""
        return nn.ModuleList([encoder.get_submodule("embeddings")])

    def layers(self, encoder: PreTrainedModel) -> nn.ModuleList:
        """The encoder's layers, bottom first."""
        layers = encoder.get_submodule("encoder.layer")
        assert isinstance(layers, nn.ModuleList)
        return layers

    def norms(self, layer: nn.Module) -> Iterator[tuple[nn.Module, str]]:
        """The norm behind the attention and the one behind the feed-forward half."""
        yield layer.get_submodule("attention.output"), "LayerNorm"
        yield layer.get_submodule("output"), "LayerNorm"

    def embed(self, encoder: PreTrainedModel, batch: PackedBatch) -> tuple[Tensor, Rotations]:
        """Word, position and segment embeddings, normalised, [S, W, H]."""
        hidden: Tensor = encoder.get_submodule("embeddings")(
            input_ids=batch.input_ids,
            token_type_ids=batch.token_type_ids if encoder.config.type_vocab_size > 1 else None,
            position_ids=batch.position_ids + self.first_position(encoder.config),
        )
        return hidden, {}

    def window(self, layer: nn.Module) -> int | None:
        """A token sees its whole row."""
        return None

    def run_layer(
        self, layer: nn.Module, hidden: Tensor, bias: Tensor, rotations: Rotations
    ) -> tuple[Tensor, Tensor]:
        """The two halves of a layer: attention, then feed-forward."""
        attended = layer.get_submodule("attention")(hidden, bias)[0]
        return attended, layer.feed_forward_chunk(attended)  # type: ignore[operator]

    def read(self, encoder: PreTrainedModel, hidden: Tensor) -> Tensor:
        """As they are: every layer ends with a norm."""
        return hidden


class Roberta(Bert):
    """RoBERTa and XLM-R: positions count on from the padding's number, so 512 of 514 are rows'."""

    def first_position(self, config: PretrainedConfig) -> int:
        """The one behind the padding's."""
        return int(config.pad_token_id) + 1


class Electra(Bert):
    """ELECTRA: a discriminator without a pooler; small ones project their embeddings to the hidden size."""

    has_pooler: ClassVar[bool] = False

    def embeddings(self, encoder: PreTrainedModel) -> nn.ModuleList:
        """The embeddings, and the projection where there is one."""
        names = ("embeddings", "embeddings_project")
        return nn.ModuleList([encoder.get_submodule(name) for name in names if hasattr(encoder, name)])

    def embed(self, encoder: PreTrainedModel, batch: PackedBatch) -> tuple[Tensor, Rotations]:
        """As BERT's, projected to the hidden size where the embeddings are smaller."""
        hidden, rotations = super().embed(encoder, batch)
        if hasattr(encoder, "embeddings_project"):
            hidden = encoder.get_submodule("embeddings_project")(hidden)
        return hidden, rotations
