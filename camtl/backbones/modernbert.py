"""ModernBERT: pre-norm, rotary positions, most layers seeing only a window of their row."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from camtl.backbones.family import Rotations
from camtl.packing import PackedBatch


class ModernBert:
    """`transformers.ModernBertModel`: how each conditional part maps.

    - Alignment: behind the embeddings' norm, as in BERT.
    - M(z): added to the scores of global and local layers alike; a local layer's window still cuts it off.
    - Layer norm: a pre-norm stands before the half that it belongs to. The conditional norms are those
      before the attention and the feed-forward half of the same layers as in BERT; the norm behind the
      last layer (`final_norm`) is shared by all tasks.
    - Bottleneck: what a layer leaves is a sum of residuals without a norm, so the adapter reads it
      through `final_norm`, as everything behind the encoder does.
    - Pooler: there is none; a new one is trained.
    """

    has_pooler: ClassVar[bool] = False
    dropouts: ClassVar[Sequence[str]] = ("attention_dropout", "embedding_dropout", "mlp_dropout")

    def check(self, config: PretrainedConfig, max_seq_length: int) -> None:
        """Raises ValueError where rows would be longer than the encoder was trained for."""
        if max_seq_length > config.max_position_embeddings:
            raise ValueError(
                f"max_seq_length={max_seq_length} is more than the {config.max_position_embeddings} positions "
                "that the backbone has"
            )

    def embeddings(self, encoder: PreTrainedModel) -> nn.ModuleList:
        """Token embeddings with their norm."""
        return nn.ModuleList([encoder.get_submodule("embeddings")])

    def layers(self, encoder: PreTrainedModel) -> nn.ModuleList:
        """The encoder's layers, bottom first."""
        layers = encoder.get_submodule("layers")
        assert isinstance(layers, nn.ModuleList)
        return layers

    def norms(self, layer: nn.Module) -> Iterator[tuple[nn.Module, str]]:
        """The norm before the attention (the first layer has none) and the one before the feed-forward half."""
        for name in ("attn_norm", "mlp_norm"):
            if isinstance(layer.get_submodule(name), nn.LayerNorm):
                yield layer, name

    def embed(self, encoder: PreTrainedModel, batch: PackedBatch) -> tuple[Tensor, Rotations]:
        """Token embeddings [S, W, H], and the rotations of each kind of layer by the positions in a row."""
        hidden: Tensor = encoder.get_submodule("embeddings")(input_ids=batch.input_ids)
        rotary = encoder.get_submodule("rotary_emb")
        kinds = sorted(set(encoder.config.layer_types))
        return hidden, {kind: rotary(hidden, batch.position_ids, kind) for kind in kinds}

    def window(self, layer: nn.Module) -> int | None:
        """Tokens to either side that a local layer sees."""
        assert isinstance(layer.config, PretrainedConfig)
        return layer.config.sliding_window if layer.attention_type == "sliding_attention" else None

    def run_layer(
        self, layer: nn.Module, hidden: Tensor, bias: Tensor, rotations: Rotations
    ) -> tuple[Tensor, Tensor]:
        """The two halves of a layer, each added to what it read."""

        def run(name: str, *arguments: Tensor, **options: object) -> Tensor:
            return layer.get_submodule(name)(*arguments, **options)

        attention = layer.get_submodule("attn")
        rotation = rotations[str(layer.attention_type)]
        attended = (
            hidden + attention(run("attn_norm", hidden), position_embeddings=rotation, attention_mask=bias)[0]
        )
        return attended, attended + run("mlp", run("mlp_norm", attended))

    def read(self, encoder: PreTrainedModel, hidden: Tensor) -> Tensor:
        """Through the norm behind the last layer."""
        normed: Tensor = encoder.get_submodule("final_norm")(hidden)
        return normed
