"""The conditioned encoder: a pretrained one, with the conditional parts of CA-MTL set into it.

Shape suffixes: S sequences, W tokens a sequence, H hidden, T tasks, Z task embedding.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init

from camtl.backbones import Rotations, family_of
from camtl.config import CaMtlConfig
from camtl.layer_ranges import layer_range
from camtl.modules import (
    ConditionalAlignment,
    ConditionalAttentionBias,
    ConditionalBottleneck,
    ConditionalLayerNorm,
    TaskContext,
    TaskContextHolder,
    make_conditional,
)
from camtl.modules.conditional_attention import block_lookup
from camtl.packing import PackedBatch


class ConditionalEncoder(PreTrainedModel):
    """From a packed batch to hidden states that depend on the task of every row."""

    config: CaMtlConfig
    config_class = CaMtlConfig
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: CaMtlConfig) -> None:
        super().__init__(config)
        encoder_config = config.encoder_config()
        self.family = family_of(encoder_config)
        self.family.check(encoder_config, config.max_seq_length)
        options = {"add_pooling_layer": not config.new_pooler} if self.family.has_pooler else {}
        self.encoder = AutoModel.from_config(
            encoder_config, attn_implementation="sdpa", dtype=torch.get_default_dtype(), **options
        )
        self.gradient_checkpointing = False
        self._holder = TaskContextHolder()

        hidden = encoder_config.hidden_size
        size = config.task_embedding_size or hidden
        layers = encoder_config.num_hidden_layers
        if config.has_conditions:
            self.task_embedding = nn.Embedding(max(1, len(config.tasks)), size)
            # Where the alignment stands alone nothing reads the transformed embedding.
            in_layers = (
                config.conditional_attention
                or config.conditional_layer_norm != "none"
                or config.bottleneck != "none"
            )
            self.task_transformation = nn.Linear(size, size) if in_layers else nn.Identity()
        if config.conditional_alignment:
            self.alignment = ConditionalAlignment(size, hidden)
        if config.conditional_attention:
            self.blocks = config.attention_blocks or max(1, hidden // config.max_seq_length)
            self.attention_bias = nn.ModuleList(
                ConditionalAttentionBias(size, config.max_seq_length, self.blocks) for _ in range(layers)
            )
        _, norm_name = (norms := list(self.family.norms(self.layers()[-1])))[-1]
        norm_eps = getattr(norms[-1][0], norm_name).eps
        for number in layer_range(config.conditional_layer_norm, layers, setting="conditional_layer_norm"):
            for owner, name in self.family.norms(self.layers()[number]):
                make_conditional(owner, name, size, self._holder)
        if config.bottleneck != "none":
            if config.bottleneck_reduction > hidden:
                raise ValueError(
                    f"bottleneck_reduction={config.bottleneck_reduction} leaves nothing of the backbone's hidden size "
                    f"{hidden}: give at most {hidden}"
                )
            count = 1 if config.bottleneck == "top" else layers
            self.bottlenecks = nn.ModuleList(
                ConditionalBottleneck(size, hidden, config.bottleneck_reduction) for _ in range(count)
            )
        if config.bottleneck == "top":
            self.bottleneck_norm = ConditionalLayerNorm(
                hidden, eps=norm_eps, condition_size=size, holder=self._holder
            )

    def layers(self) -> nn.ModuleList:
        """The encoder's layers, bottom first."""
        return self.family.layers(self.encoder)

    def embeddings(self) -> nn.ModuleList:
        """The encoder's modules before its first layer."""
        return self.family.embeddings(self.encoder)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal(0, initializer_range) for every new weight, 0 for biases and M(z)'s matrix."""
        super()._init_weights(module)
        if isinstance(module, ConditionalAttentionBias):
            init.zeros_(module.matrix)
        elif isinstance(module, ConditionalLayerNorm):
            init.ones_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)

    def encode(self, batch: PackedBatch) -> Tensor:
        """Hidden states of the last layer [S, W, H]."""
        hidden, rotations = self.family.embed(self.encoder, batch)
        context, lookup_SWW = None, None
        if self.config.has_conditions:
            task_embedding_TZ = self.task_embedding.weight
            context = TaskContext(self.task_transformation(task_embedding_TZ), batch.token_task)
            if self.config.conditional_alignment:
                hidden = self.alignment(hidden, task_embedding_TZ, context)
        if self.config.conditional_attention:
            lookup_SWW = block_lookup(
                batch.position_ids,
                batch.token_task,
                num_tasks=self.task_embedding.num_embeddings,
                max_seq_length=self.config.max_seq_length,
                blocks=self.blocks,
            )
        windows = {self.family.window(layer) for layer in self.layers()}
        blocked_SWW = {window: batch.blocked_scores(window, hidden.dtype) for window in windows}
        skip: Tensor | None = None
        attended = hidden
        for index, layer in enumerate(self.layers()):
            blocked = blocked_SWW[self.family.window(layer)]
            arguments = (index, layer, context, blocked, lookup_SWW, rotations, hidden)
            if self.gradient_checkpointing and self.training:
                attended, hidden = checkpoint(self._run_layer, *arguments, use_reentrant=False)
            else:
                attended, hidden = self._run_layer(*arguments)
            if self.config.bottleneck == "all":
                assert context is not None
                read = self.family.read(self.encoder, hidden)
                skip = self.bottlenecks[index](read if skip is None else read + skip, context)
        if skip is not None:
            return skip
        hidden = self.family.read(self.encoder, hidden)
        if self.config.bottleneck == "top":
            attended = self.family.read(self.encoder, attended)
            hidden = self.bottleneck_norm(self.bottlenecks[0](hidden, context) + attended)
        return hidden

    def _run_layer(
        self,
        index: int,
        layer: nn.Module,
        context: TaskContext | None,
        blocked_SWW: Tensor,
        lookup_SWW: Tensor | None,
        rotations: Rotations,
        hidden_SWH: Tensor,
    ) -> tuple[Tensor, Tensor]:
        self._holder.context = context  # here, so that a recomputed layer finds its own batch's tasks
        bias_SWW = blocked_SWW
        if lookup_SWW is not None:
            assert context is not None
            bias_SWW = blocked_SWW + self.attention_bias[index](context.condition, lookup_SWW)
        return self.family.run_layer(layer, hidden_SWH, bias_SWW[:, None].to(hidden_SWH.dtype), rotations)
