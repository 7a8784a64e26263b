"""`CaMtlModel`: one pretrained encoder, conditioned on the task of every row, with a head per task.

Shape suffixes: B rows, S sequences, W tokens a sequence, H hidden, T tasks, Z task embedding.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput

from camtl.backbones import Rotations, family_of, resolve_backbone
from camtl.config import CaMtlConfig
from camtl.heads import LinearHead
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
            count = 1 if config.bottleneck == "top" else layers
            self.bottlenecks = nn.ModuleList(
                ConditionalBottleneck(size, hidden, config.bottleneck_reduction) for _ in range(count)
            )
        if config.bottleneck == "top":
            self.bottleneck_norm = ConditionalLayerNorm(
                hidden, eps=norm_eps, condition_size=size, holder=self._holder
            )
        if config.new_pooler or not self.family.has_pooler:
            self.pooler = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh())
        self.heads = nn.ModuleDict(
            {task: LinearHead(config.head_spec(task), hidden, config.dropout or 0.0) for task in config.tasks}
        )
        self.post_init()

    @classmethod
    def from_backbone(
        cls, backbone: str, config: CaMtlConfig, *, revision: str | None = None
    ) -> "CaMtlModel":
        """A model whose encoder starts from pretrained weights; everything new is random.

        Args:
            backbone: hub id, folder, or `package:<name>`.
            config: the model's shape; what it says of the backbone is filled in.
            revision: branch, tag or commit of a hub id.

        Raises:
            ValueError: the backbone cannot be found, is not of a supported family, too short for the
                rows, or lacks weights.
        """
        encoder_config = _backbone_config(backbone, config, revision)
        pretrained, told = AutoModel.from_pretrained(
            resolve_backbone(backbone),
            revision=config.backbone_revision or revision,
            dtype=torch.float32,
            output_loading_info=True,
        )
        missing = [name for name in told["missing_keys"] if not name.startswith("pooler.")]
        if missing:
            raise ValueError(
                f"backbone {backbone!r} lacks weights of its own encoder: {', '.join(missing[:3])}"
            )
        config.new_pooler = bool(told["missing_keys"]) or not family_of(encoder_config).has_pooler
        weights = pretrained.state_dict()
        if config.new_pooler:
            weights = {name: value for name, value in weights.items() if not name.startswith("pooler.")}
        if config.random_top_layer:
            top = f"layer.{encoder_config.num_hidden_layers - 1}."
            weights = {name: value for name, value in weights.items() if top not in name}
        model = cls(config)
        unexpected = model.encoder.load_state_dict(weights, strict=False).unexpected_keys
        if unexpected:
            raise ValueError(f"backbone {backbone!r} holds weights that the encoder lacks: {unexpected[0]}")
        return model

    @classmethod
    def shaped_like(cls, backbone: str, config: CaMtlConfig) -> "CaMtlModel":
        """As `from_backbone`, but without its weights: all is random (on the meta device: a check of the shape)."""
        _backbone_config(backbone, config, None)
        return cls(config)

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
        pooled_BH = self._pool(first_BH)
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

    def _pool(self, first_BH: Tensor) -> Tensor:
        """The first tokens' states through a dense layer and tanh, as BERT's pooler does, [B, H]."""
        if self.config.new_pooler or not self.family.has_pooler:
            return self.pooler(first_BH)
        return self.encoder.get_submodule("pooler")(first_BH[:, None])

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


def _backbone_config(backbone: str, config: CaMtlConfig, revision: str | None) -> PretrainedConfig:
    """The encoder's configuration, which is noted in the model's."""
    try:
        found = AutoConfig.from_pretrained(resolve_backbone(backbone), revision=revision)
    except OSError as error:
        raise ValueError(f"backbone {backbone!r} cannot be loaded: {str(error).splitlines()[0]}") from error
    family_of(found)
    config.backbone = backbone
    config.backbone_revision = getattr(found, "_commit_hash", None)
    config.backbone_config = found.to_dict() | {"dtype": "float32"}
    return found
