"""The conditioned encoder: a pretrained encoder with the conditional parts of CA-MTL inside it.

Shape suffixes: S sequences, W tokens a sequence, H hidden, T tasks, Z task embedding.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init

from camtl.backbones import family_of
from camtl.backbones.family import Rotations
from camtl.config import CaMtlConfig
from camtl.layer_ranges import layer_range
from camtl.modules.bottleneck import ConditionalBottleneck
from camtl.modules.conditional_alignment import ConditionalAlignment
from camtl.modules.conditional_attention import ConditionalAttentionBias, attention_bias_indices
from camtl.modules.conditional_layer_norm import ConditionalLayerNorm
from camtl.modules.task_context import TaskContext, TaskContextHolder
from camtl.packing import PackedBatch


class ConditionalEncoder(PreTrainedModel):
    """Encodes a packed batch into hidden states that depend on the task of every row."""

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
        self._add_conditional_parts(encoder_config.hidden_size)

    def _add_conditional_parts(self, hidden: int) -> None:
        config, layers = self.config, self.layers()
        size = config.task_embedding_size or hidden
        if config.has_conditions:
            self.task_embedding = nn.Embedding(max(1, len(config.tasks)), size)
            # The alignment alone does not read the transformed embedding.
            in_layers = config.has_conditional_layers
            self.task_transformation = nn.Linear(size, size) if in_layers else nn.Identity()
        if config.conditional_alignment:
            self.alignment = ConditionalAlignment(size, hidden)
        if config.conditional_attention:
            length = config.max_seq_length
            self.attention_blocks = config.attention_blocks or max(1, hidden // length)
            self.attention_bias = nn.ModuleList(
                ConditionalAttentionBias(size, length, self.attention_blocks) for _ in layers
            )
        norms = config.conditional_layer_norm
        for number in layer_range(norms, len(layers), setting="conditional_layer_norm"):
            for owner, name in self.family.norms(layers[number]):
                setattr(owner, name, ConditionalLayerNorm(getattr(owner, name), size, self._holder))
        if config.bottleneck != "none":
            if config.bottleneck_reduction > hidden:
                raise ValueError(
                    f"bottleneck_reduction={config.bottleneck_reduction} leaves nothing of the backbone's "
                    f"hidden size {hidden}: use at most {hidden}"
                )
            count = 1 if config.bottleneck == "top" else len(layers)
            self.bottlenecks = nn.ModuleList(
                ConditionalBottleneck(size, hidden, config.bottleneck_reduction) for _ in range(count)
            )
        if config.bottleneck == "top":
            *_, (owner, name) = self.family.norms(layers[-1])
            norm = nn.LayerNorm(hidden, eps=getattr(owner, name).eps)
            self.bottleneck_norm = ConditionalLayerNorm(norm, size, self._holder)

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
        context, indices_SWW = None, None
        if self.config.has_conditions:
            task_embedding_TZ = self.task_embedding.weight
            context = TaskContext(self.task_transformation(task_embedding_TZ), batch.token_task)
            if self.config.conditional_alignment:
                hidden = self.alignment(hidden, task_embedding_TZ, context)
        if self.config.conditional_attention:
            indices_SWW = attention_bias_indices(
                batch.position_ids,
                batch.token_task,
                num_tasks=self.task_embedding.num_embeddings,
                max_seq_length=self.config.max_seq_length,
                attention_blocks=self.attention_blocks,
            )
        windows = [self.family.window(layer) for layer in self.layers()]
        masks_SWW = {window: batch.attention_mask(window, hidden.dtype) for window in set(windows)}
        skip: Tensor | None = None
        attended = hidden
        for index, window in enumerate(windows):
            arguments = (index, context, masks_SWW[window], indices_SWW, rotations, hidden)
            if self.gradient_checkpointing and self.training:
                attended, hidden = checkpoint(self._run_layer, *arguments, use_reentrant=False)
            else:
                attended, hidden = self._run_layer(*arguments)
            if self.config.bottleneck == "all":
                assert context is not None
                normed = self.family.final_norm(self.encoder, hidden)
                skip = self.bottlenecks[index](normed if skip is None else normed + skip, context)
        if skip is not None:
            return skip
        hidden = self.family.final_norm(self.encoder, hidden)
        if self.config.bottleneck == "top":
            attended = self.family.final_norm(self.encoder, attended)
            hidden = self.bottleneck_norm(self.bottlenecks[0](hidden, context) + attended)
        return hidden

    def _run_layer(
        self,
        index: int,
        context: TaskContext | None,
        mask_SWW: Tensor,
        indices_SWW: Tensor | None,
        rotations: Rotations,
        hidden_SWH: Tensor,
    ) -> tuple[Tensor, Tensor]:
        self._holder.context = context  # set here, so that a recomputed layer reads its own batch's tasks
        bias_SWW = mask_SWW
        if indices_SWW is not None:
            assert context is not None
            bias_SWW = mask_SWW + self.attention_bias[index](context.condition, indices_SWW)
        layer, bias = self.layers()[index], bias_SWW[:, None].to(hidden_SWH.dtype)
        return self.family.run_layer(layer, hidden_SWH, bias, rotations)
