"""`CaMtlModel`: one pretrained encoder, conditioned on the task of every row, with a head per task.

Shape suffixes: B rows, S sequences, W tokens a sequence, H hidden, T tasks, Z task embedding.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput

from camtl.backbones import family_of, make_norms_conditional, resolve_backbone
from camtl.config import CaMtlConfig
from camtl.heads import LinearHead
from camtl.modules import (
    ConditionalAlignment,
    ConditionalAttentionBias,
    ConditionalBottleneck,
    ConditionalLayerNorm,
    TaskContext,
    TaskContextHolder,
)
from camtl.modules.conditional_attention import block_lookup
from camtl.packing import PackedBatch


@dataclass
class CaMtlOutput(ModelOutput):
    """What the model gives.

    Attributes:
        loss: mean of `task_losses` over the tasks present; None without labels.
        task_losses: {task: mean loss of its rows}, for the tasks with labels; None without labels.
        logits: {task: [rows of the task, labels]}, rows in batch order; tasks without rows are absent.
        last_hidden_state: [B, W, H]; of a packed batch [S, W, H].
        pooler_output: [B, H].
    """

    loss: Tensor | None = None
    task_losses: dict[str, Tensor] | None = None
    logits: dict[str, Tensor] | None = None
    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None


class CaMtlModel(PreTrainedModel):
    """CA-MTL over an encoder of the BERT family (Pilault et al., ICLR 2021)."""

    config: CaMtlConfig
    config_class = CaMtlConfig
    base_model_prefix = "camtl"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: CaMtlConfig) -> None:
        super().__init__(config)
        encoder_config = config.encoder_config()
        self.family = family_of(encoder_config)
        self.family.check(encoder_config, config.max_seq_length)
        self.encoder = AutoModel.from_config(encoder_config, attn_implementation="sdpa")
        self.gradient_checkpointing = False
        self._holder = TaskContextHolder()

        hidden = encoder_config.hidden_size
        size = config.task_embedding_size or hidden
        layers = encoder_config.num_hidden_layers
        if config.has_conditions:
            self.task_embedding = nn.Embedding(max(1, len(config.tasks)), size)
            # Where the alignment stands alone nothing reads the transformed embedding.
            in_layers = (
                config.conditional_attention or config.conditional_layer_norm or config.bottleneck != "none"
            )
            self.task_transformation = nn.Linear(size, size) if in_layers else nn.Identity()
        if config.conditional_alignment:
            self.alignment = ConditionalAlignment(size, hidden)
        if config.conditional_attention:
            self.blocks = config.attention_blocks or max(1, hidden // config.max_seq_length)
            self.attention_bias = nn.ModuleList(
                ConditionalAttentionBias(size, config.max_seq_length, self.blocks) for _ in range(layers)
            )
        if config.conditional_layer_norm:
            make_norms_conditional(self.family, self.encoder, size, self._holder)
        if config.bottleneck != "none":
            count = 1 if config.bottleneck == "top" else layers
            self.bottlenecks = nn.ModuleList(
                ConditionalBottleneck(size, hidden, config.bottleneck_reduction) for _ in range(count)
            )
        if config.bottleneck == "top":
            self.bottleneck_norm = ConditionalLayerNorm(
                hidden, eps=encoder_config.layer_norm_eps, condition_size=size, holder=self._holder
            )
        self.heads = nn.ModuleDict(
            {task: LinearHead(config.head_spec(task), hidden, config.dropout or 0.0) for task in config.tasks}
        )
        self.post_init()

    @classmethod
    def from_backbone(cls, backbone: str, config: CaMtlConfig) -> "CaMtlModel":
        """A model whose encoder starts from pretrained weights; everything new is random.

        Args:
            backbone: hub id, folder, or `package:<name>`.
            config: the model's shape; its `backbone` and `backbone_config` are filled in.

        Raises:
            ValueError: the backbone cannot be found, is not of a supported family or too short for the rows.
        """
        model = cls.shaped_like(backbone, config)
        pretrained = AutoModel.from_pretrained(resolve_backbone(backbone)).state_dict()
        if config.random_top_layer:
            top = f"layer.{model.encoder.config.num_hidden_layers - 1}."
            pretrained = {name: value for name, value in pretrained.items() if top not in name}
        unexpected = model.encoder.load_state_dict(pretrained, strict=False).unexpected_keys
        if unexpected:
            raise ValueError(f"backbone {backbone!r} holds weights that the encoder lacks: {unexpected[0]}")
        return model

    @classmethod
    def shaped_like(cls, backbone: str, config: CaMtlConfig) -> "CaMtlModel":
        """As `from_backbone`, but without its weights: all is random (on the meta device: a check of the shape)."""
        try:
            encoder_config = AutoConfig.from_pretrained(resolve_backbone(backbone))
        except OSError as error:
            raise ValueError(
                f"backbone {backbone!r} cannot be loaded: {str(error).splitlines()[0]}"
            ) from error
        family_of(encoder_config)
        config.backbone = backbone
        config.backbone_config = encoder_config.to_dict()
        return cls(config)

    def layers(self) -> nn.ModuleList:
        """The encoder's layers, bottom first."""
        return self.family.layers(self.encoder)

    def embeddings(self) -> nn.Module:
        """The encoder's embeddings."""
        return self.encoder.get_submodule("embeddings")

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal(0, initializer_range) for every new weight, 0 for biases and M(z)'s matrix."""
        super()._init_weights(module)
        if isinstance(module, ConditionalAttentionBias):
            init.zeros_(module.matrix)
        elif isinstance(module, ConditionalLayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        task_ids: Tensor | None = None,
        labels: dict[str, Tensor] | None = None,
        *,
        packed: PackedBatch | None = None,
        **_: Any,
    ) -> CaMtlOutput:
        """Encode rows of mixed tasks and give each task's logits, and losses where there are labels.

        Args:
            input_ids, attention_mask, token_type_ids: a padded batch, [B, W], W at most L.
            task_ids: index of each row's task in `config.tasks`, int64, [B].
            labels: {task: labels of that task's rows, in batch order}.
            packed: a packed batch instead of the four above.

        Raises:
            ValueError: neither or half of a batch, a task id out of range, a row longer than
                `max_seq_length`, or labels of another number than the task's rows.
        """
        if packed is None:
            if input_ids is None or task_ids is None:
                raise ValueError(
                    "pass input_ids with task_ids (index in config.tasks), or packed=PackedBatch(...)"
                )
            packed = PackedBatch.from_padded(input_ids, attention_mask, token_type_ids, task_ids)
        if packed.longest > self.config.max_seq_length:
            raise ValueError(
                f"a row of {packed.longest} tokens is longer than max_seq_length={self.config.max_seq_length}"
            )
        for task in packed.rows_by_task:
            if not 0 <= task < len(self.config.tasks):
                raise ValueError(f"task id {task} is outside 0..{len(self.config.tasks) - 1} (config.tasks)")
        hidden_SWH = self.encode(packed)
        first_BH = hidden_SWH.flatten(0, 1)[packed.row_starts]
        pooled_BH = self.family.pool(self.encoder, first_BH)
        logits = {
            self.config.tasks[task]: self.heads[self.config.tasks[task]](pooled_BH[rows])
            for task, rows in packed.rows_by_task.items()
        }
        task_losses = None if labels is None else self._task_losses(logits, labels)
        return CaMtlOutput(
            loss=torch.stack(list(task_losses.values())).mean() if task_losses else None,
            task_losses=task_losses,
            logits=logits,
            last_hidden_state=hidden_SWH,
            pooler_output=pooled_BH,
        )

    def encode(self, batch: PackedBatch) -> Tensor:
        """Hidden states of the last layer [S, W, H]."""
        hidden = self.family.embed(self.encoder, batch)
        context = None
        if self.config.has_conditions:
            task_embedding_TZ = self.task_embedding.weight
            context = TaskContext(self.task_transformation(task_embedding_TZ), batch.token_task)
            if self.config.conditional_alignment:
                hidden = self.alignment(hidden, task_embedding_TZ, context)
        allowed_SWW = batch.row_ids[:, :, None] == batch.key_row_ids[:, None, :]
        blocked_SWW = torch.zeros(allowed_SWW.shape, device=hidden.device).masked_fill(
            ~allowed_SWW, float("-inf")
        )
        lookup_SWW = None
        if self.config.conditional_attention:
            lookup_SWW = block_lookup(
                batch.position_ids,
                batch.token_task,
                num_tasks=self.task_embedding.num_embeddings,
                max_seq_length=self.config.max_seq_length,
                blocks=self.blocks,
            )
        skip: Tensor | None = None
        for index, layer in enumerate(self.layers()):
            arguments = (index, layer, context, blocked_SWW, lookup_SWW, hidden)
            if self.gradient_checkpointing and self.training:
                attended, hidden = checkpoint(self._run_layer, *arguments, use_reentrant=False)
            else:
                attended, hidden = self._run_layer(*arguments)
            if self.config.bottleneck == "all":
                assert context is not None
                skip = self.bottlenecks[index](hidden if skip is None else hidden + skip, context)
        if self.config.bottleneck == "top":
            hidden = self.bottleneck_norm(self.bottlenecks[0](hidden, context) + attended)
        return hidden if skip is None else skip

    def _run_layer(
        self,
        index: int,
        layer: nn.Module,
        context: TaskContext | None,
        blocked_SWW: Tensor,
        lookup_SWW: Tensor | None,
        hidden_SWH: Tensor,
    ) -> tuple[Tensor, Tensor]:
        self._holder.context = context  # here, so that a recomputed layer finds its own batch's tasks
        bias_SWW = blocked_SWW
        if lookup_SWW is not None:
            assert context is not None
            bias_SWW = blocked_SWW + self.attention_bias[index](context.condition, lookup_SWW)
        return self.family.run_layer(layer, hidden_SWH, bias_SWW[:, None].to(hidden_SWH.dtype))

    def _task_losses(self, logits: dict[str, Tensor], labels: dict[str, Tensor]) -> dict[str, Tensor]:
        losses = {}
        for task, task_labels in labels.items():
            if task not in logits:
                raise ValueError(f"labels for task {task!r}, which has no rows in the batch")
            if len(task_labels) != len(logits[task]):
                raise ValueError(
                    f"task {task!r}: {len(logits[task])} rows in the batch, {len(task_labels)} labels"
                )
            head = self.heads[task]
            assert isinstance(head, LinearHead)
            losses[task] = head.loss(logits[task], task_labels)
        return losses
