"""ModernBERT: pre-norm, rotary positions, and a local attention window in most layers."""

from collections.abc import Iterator

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from camtl.backbones.family import Family, Rotations
from camtl.packing import PackedBatch


class ModernBert(Family):
    """`transformers.ModernBertModel`, and how each conditional part maps to it.

    - Alignment: after the embeddings' norm, as in BERT.
    - M(z): added to the scores of global and local layers; a local layer's window still applies.
    - Layer norm: a pre-norm precedes the half that it belongs to. The conditional norms are those before
      the attention and the feed-forward half of the same layers as in BERT; the norm after the last layer
      (`final_norm`) is shared by all tasks.
    - Bottleneck: a layer's output is a sum of residuals without a norm, so the adapter reads it
      through `final_norm`, as the heads do.
    - Pooler: ModernBERT has none; a new one is trained.
    - Random top layer: the published code has it for BERT's names only.
    """

    layers_path = "layers"
    dropouts = ("attention_dropout", "embedding_dropout", "mlp_dropout")
    supports_random_top_layer = False

    def norms(self, layer: nn.Module) -> Iterator[tuple[nn.Module, str]]:
        """The norms before the attention (the first layer has none) and before the feed-forward half."""
        for name in ("attn_norm", "mlp_norm"):
            if not isinstance(layer.get_submodule(name), nn.Identity):
                yield layer, name

    def embed(self, encoder: PreTrainedModel, batch: PackedBatch) -> tuple[Tensor, Rotations]:
        """Token embeddings [S, W, H], and the rotations of each layer type at the positions in a row."""
        hidden = encoder.get_submodule("embeddings")(input_ids=batch.input_ids)
        rotary = encoder.get_submodule("rotary_emb")
        layer_types = sorted(set(encoder.config.layer_types))
        return hidden, {name: rotary(hidden, batch.position_ids, name) for name in layer_types}

    def window(self, layer: nn.Module) -> int | None:
        """The window of a local layer; None for a global one."""
        assert isinstance(layer.config, PretrainedConfig)
        return layer.config.sliding_window if layer.attention_type == "sliding_attention" else None

    def run_layer(
        self, layer: nn.Module, hidden: Tensor, bias: Tensor, rotations: Rotations
    ) -> tuple[Tensor, Tensor]:
        """The two halves of a layer, each added to its input."""
        attention, attn_norm = layer.get_submodule("attn"), layer.get_submodule("attn_norm")
        mlp, mlp_norm = layer.get_submodule("mlp"), layer.get_submodule("mlp_norm")
        rotation = rotations[str(layer.attention_type)]
        attended = hidden + attention(attn_norm(hidden), position_embeddings=rotation, attention_mask=bias)[0]
        return attended, attended + mlp(mlp_norm(attended))

    def final_norm(self, encoder: PreTrainedModel, hidden: Tensor) -> Tensor:
        """Applies the norm after the last layer."""
        return encoder.get_submodule("final_norm")(hidden)
