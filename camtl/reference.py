"""Loads weights of the authors' published implementation (commit 1e6ebb7).

Both implementations compute the same function and differ in names: the published code calls the base variant's
top layer `new_*`, and every FiLM generator `gb_weights`.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import BertConfig

from camtl.config import CaMtlConfig
from camtl.heads import HeadSpec
from camtl.model import CaMtlModel

RENAMES: tuple[tuple[str, str], ...] = (
    (r"\.gb_weights\.", ".film.generator."),
    (r"^bert\.task_type_embeddings\.", "task_embedding."),
    (r"^bert\.encoder\.task_transformation\.", "task_transformation."),
    (r"^bert\.conditional_alignment\.", "alignment."),
    (r"\.ln_weight_modulation\.", "."),
    (r"\.new_(attention|intermediate|output)\.", r".\1."),
    (r"^bert\.encoder\.layer\.(\d+)\.attention\.self\.random_weight_matrix$", r"attention_bias.\1.matrix"),
    (r"^bert\.encoder\.layer\.(\d+)\.attention\.self\.cond_block_diag_attn\.", r"attention_bias.\1."),
    (r"^bert\.encoder\.layer\.\d+\.adapter\.condlayernorm\.", "bottleneck_norm."),
    (r"^bert\.encoder\.layer\.\d+\.adapter\.bottleneck\.", "bottlenecks.0."),
    (r"^bert\.encoder\.adapter_layer\.(\d+)\.(?:bottleneck\.)?", r"bottlenecks.\1."),
    (r"\.emb_transf\.", ".condition."),
    (r"\.hidden_modulation\.", "."),
    (r"\.(down|up)_proj_layer\.", r".\1."),
    (r"^bert\.", "encoder."),
)


def rename(name: str, tasks: list[str]) -> str:
    """Translates a weight's name in the published code to its name here."""
    if decoder := re.fullmatch(r"decoders\.(\d+)\.model\.(weight|bias)", name):
        return f"heads.{tasks[int(decoder[1])]}.linear.{decoder[2]}"
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def from_reference(
    state_dict: Mapping[str, Tensor],
    bert_config: BertConfig | Mapping[str, Any],
    variant: str,
    tasks: Mapping[str, int],
    max_seq_length: int,
) -> CaMtlModel:
    """Makes a model with the weights of the published implementation.

    Args:
        state_dict, bert_config: of the published `CaMtl` module and of its encoder.
        variant: `base` or `large`.
        tasks: number of labels of each task, in the order of the task ids; 1 is a regression.
        max_seq_length: the length that the published code padded all rows to.

    Raises:
        ValueError: a weight is missing or unexpected; the error names it.
    """
    fields = bert_config.to_dict() if isinstance(bert_config, BertConfig) else dict(bert_config)
    heads = {
        name: HeadSpec(kind="regression" if labels == 1 else "classification", num_labels=labels)
        for name, labels in tasks.items()
    }
    config = CaMtlConfig(
        variant=variant,
        tasks=list(tasks),
        heads=heads,
        max_seq_length=max_seq_length,
        backbone_config={**fields, "model_type": "bert"},
    )
    model = CaMtlModel(config)
    renamed = {rename(name, config.tasks): value for name, value in state_dict.items()}
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    if missing or unexpected:
        raise ValueError(
            f"the weights do not fit variant {variant!r}: missing {missing[:3]}, unexpected {unexpected[:3]}"
        )
    return model.eval()
