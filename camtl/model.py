"""`CaMtlModel`: one pretrained encoder, conditioned on the task of every row, with a head per task.

Shape suffixes: B rows, E encodings of them (most rows have one), S sequences, W tokens a sequence, H hidden,
N = S * W.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import ModelOutput

from camtl.backbones import family_of, read_config, read_weights
from camtl.backbones.pretrained import POOLER
from camtl.config import CaMtlConfig
from camtl.encoder import ConditionalEncoder
from camtl.heads import HEADS, Head
from camtl.packing import PackedBatch
from camtl.saving import AdapterCheckpoints


@dataclass
class CaMtlOutput(ModelOutput):
    """The model's output.

    Attributes:
        loss: mean of `task_losses` over the tasks with labels; None without labels.
        task_losses: {task: mean loss of its rows}, for the tasks with labels; None without labels.
        row_losses: {task: loss of each of its rows, in batch order}, likewise.
        logits: {task: [rows of the task, labels]}, rows in batch order, for the tasks with rows. Of a choice
            [rows, choices], of a tagging [marked tokens, labels], of a span [windows, 2, positions].
        last_hidden_state: [B, W, H]; of a packed batch [S, W, H].
        pooler_output: [B, H]; for rows with several encodings one for each encoding.
    """

    loss: Tensor | None = None
    task_losses: dict[str, Tensor] | None = None
    row_losses: dict[str, Tensor] | None = None
    logits: dict[str, Tensor] | None = None
    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None


class CaMtlModel(AdapterCheckpoints, ConditionalEncoder):
    """CA-MTL over an encoder of the BERT family (Pilault et al., ICLR 2021)."""

    base_model_prefix = "camtl"

    def __init__(self, config: CaMtlConfig) -> None:
        super().__init__(config)
        hidden = self.encoder.config.hidden_size
        if config.new_pooler or not self.family.has_pooler:
            self.pooler = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh())
        specs, dropout = {task: config.head_spec(task) for task in config.tasks}, config.dropout or 0.0
        heads = {task: HEADS[spec.kind](spec, hidden, dropout) for task, spec in specs.items()}
        self.heads = nn.ModuleDict(heads)
        self.post_init()

    @classmethod
    def from_backbone(
        cls, backbone: str, config: CaMtlConfig, *, revision: str | None = None
    ) -> "CaMtlModel":
        """Makes a model whose encoder has pretrained weights; all new weights are random.

        Args:
            backbone: hub id, folder, or `package:<name>`.
            config: the model's shape; its fields about the backbone are set here.
            revision: branch, tag or commit of a hub id.

        Raises:
            ValueError: the backbone does not exist, is not of a supported family, has too few positions,
                lacks weights, or does not support `random_top_layer`.
        """
        _set_backbone(config, backbone, revision)
        weights = read_weights(backbone, config.backbone_revision or revision)
        config.new_pooler = not any(name.startswith(POOLER) for name in weights)
        model = cls(config)
        if config.random_top_layer:
            top = f"{model.family.layers_path}.{len(model.layers()) - 1}."
            weights = {name: value for name, value in weights.items() if not name.startswith(top)}
        unexpected = model.encoder.load_state_dict(weights, strict=False).unexpected_keys
        if unexpected:
            raise ValueError(f"backbone {backbone!r} has a weight that the encoder lacks: {unexpected[0]}")
        return model

    @classmethod
    def shaped_like(cls, backbone: str, config: CaMtlConfig) -> "CaMtlModel":
        """Makes a model as `from_backbone` does, but with random weights (on the meta device: a shape check)."""
        _set_backbone(config, backbone)
        return cls(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        task_ids: Tensor | None = None,
        labels: dict[str, Tensor] | None = None,
        token_marks: Tensor | None = None,
        *,
        packed: PackedBatch | None = None,
        **_: Any,
    ) -> CaMtlOutput:
        """Computes each task's logits for rows of mixed tasks, and losses for the tasks with labels.

        Args:
            input_ids, attention_mask, token_type_ids: a padded batch, [B, W], W at most L.
            task_ids: index of each row's task in `config.tasks`, int64, [B].
            labels: {task: labels of that task's rows, in batch order}. Taggings and spans have their labels in
                the marks; an entry here only requests their loss.
            token_marks: marks of a padded batch for tasks that read single tokens, [B, W] (`TokenRows`).
            packed: a packed batch instead of the arguments above, `labels` excepted.

        Raises:
            ValueError: the batch is missing or incomplete, a task id is out of range, a row is longer than
                `max_seq_length`, or a task's numbers of labels and rows differ.
        """
        if packed is None:
            if input_ids is None or task_ids is None:
                raise ValueError("pass input_ids with task_ids (index in config.tasks), or packed")
            packed = PackedBatch.from_padded(input_ids, attention_mask, token_type_ids, task_ids, token_marks)
        if packed.longest > self.config.max_seq_length:
            raise ValueError(
                f"a row of {packed.longest} tokens is longer than max_seq_length={self.config.max_seq_length}"
            )
        for task in packed.rows_by_task:
            if not 0 <= task < len(self.config.tasks):
                raise ValueError(f"task id {task} is outside 0..{len(self.config.tasks) - 1} (config.tasks)")
        hidden_SWH = self.encode(packed)
        states_NH = hidden_SWH.flatten(0, 1)
        pooled_EH = self._pool(states_NH[packed.encoding_starts])
        logits = {
            self.config.tasks[task]: self.head(task)(states_NH, pooled_EH, rows)
            for task, rows in packed.rows_by_task.items()
        }
        row_losses = None if labels is None else self._row_losses(packed, logits, labels)
        task_losses = (
            None if row_losses is None else {name: losses.mean() for name, losses in row_losses.items()}
        )
        return CaMtlOutput(
            loss=torch.stack(list(task_losses.values())).mean() if task_losses else None,
            task_losses=task_losses,
            row_losses=row_losses,
            logits=logits,
            last_hidden_state=hidden_SWH,
            pooler_output=pooled_EH,
        )

    def head(self, task: int) -> Head:
        """Returns the head of a task by its id."""
        return cast(Head, self.heads[self.config.tasks[task]])

    def _pool(self, first_EH: Tensor) -> Tensor:
        """Applies BERT's pooler, a dense layer and tanh, to the first tokens' states, [E, H]."""
        if self.config.new_pooler or not self.family.has_pooler:
            return self.pooler(first_EH)
        return self.encoder.get_submodule("pooler")(first_EH[:, None])

    def _row_losses(
        self, packed: PackedBatch, logits: dict[str, Tensor], labels: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        losses = {}
        for task, task_labels in labels.items():
            if task not in logits:
                raise ValueError(f"labels for task {task!r}, which has no rows in the batch")
            task_id = self.config.tasks.index(task)
            rows = packed.rows_by_task[task_id]
            if len(task_labels) != rows.num_rows:
                raise ValueError(
                    f"task {task!r}: {rows.num_rows} rows in the batch, {len(task_labels)} labels"
                )
            losses[task] = self.head(task_id).row_losses(logits[task], task_labels, rows)
        return losses


def _set_backbone(config: CaMtlConfig, backbone: str, revision: str | None = None) -> None:
    encoder_config = read_config(backbone, revision)
    if config.random_top_layer and not family_of(encoder_config).supports_random_top_layer:
        raise ValueError(
            f"random_top_layer is not supported for backbone family {encoder_config.model_type!r}: "
            "set it to false, or use a BERT-like backbone"
        )
    config.backbone = backbone
    config.backbone_revision = getattr(encoder_config, "_commit_hash", None)
    config.backbone_config = encoder_config.to_dict() | {"dtype": "float32"}
