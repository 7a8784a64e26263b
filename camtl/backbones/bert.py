"""BERT and the encoders built like it: post-norm, learnt positions."""

from collections.abc import Iterator

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from camtl.backbones.family import Family, Rotations
from camtl.packing import PackedBatch


class Bert(Family):
    """`transformers.BertModel`, with the conditional parts where the paper has them.

    The alignment follows the embeddings. M(z) is added to every layer's attention scores. The conditional
    norms follow both halves of a layer. The bottleneck follows the last layer's output norm.
    """

    has_pooler = True

    def norms(self, layer: nn.Module) -> Iterator[tuple[nn.Module, str]]:
        """The norms after the attention and after the feed-forward half."""
        yield layer.get_submodule("attention.output"), "LayerNorm"
        yield layer.get_submodule("output"), "LayerNorm"

    def embed(self, encoder: PreTrainedModel, batch: PackedBatch) -> tuple[Tensor, Rotations]:
        """Normalised word, position and segment embeddings [S, W, H]."""
        hidden = encoder.get_submodule("embeddings")(
            input_ids=batch.input_ids,
            token_type_ids=batch.token_type_ids if encoder.config.type_vocab_size > 1 else None,
            position_ids=batch.position_ids + self.first_position(encoder.config),
        )
        return hidden, {}

    def run_layer(
        self, layer: nn.Module, hidden: Tensor, bias: Tensor, rotations: Rotations
    ) -> tuple[Tensor, Tensor]:
        """Attention, then feed-forward."""
        attended = layer.get_submodule("attention")(hidden, bias)[0]
        return attended, layer.feed_forward_chunk(attended)  # type: ignore[operator]


class Roberta(Bert):
    """RoBERTa and XLM-R: positions start after the padding token's id, so rows can use 512 of 514."""

    def first_position(self, config: PretrainedConfig) -> int:
        """The position after the padding's."""
        return int(config.pad_token_id) + 1


class Electra(Bert):
    """ELECTRA: a discriminator without a pooler; small ones project their embeddings to the hidden size."""

    has_pooler = False

    def embeddings(self, encoder: PreTrainedModel) -> nn.ModuleList:
        """The embeddings, and their projection if there is one."""
        names = ("embeddings", "embeddings_project")
        return nn.ModuleList([encoder.get_submodule(name) for name in names if hasattr(encoder, name)])

    def embed(self, encoder: PreTrainedModel, batch: PackedBatch) -> tuple[Tensor, Rotations]:
        """BERT's embeddings, projected to the hidden size if they are smaller."""
        hidden, rotations = super().embed(encoder, batch)
        if hasattr(encoder, "embeddings_project"):
            hidden = encoder.get_submodule("embeddings_project")(hidden)
        return hidden, rotations
