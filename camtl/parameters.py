"""Parameter counts of a model: total and trainable, by part."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import nn

from camtl.freezing import pretrained_parameters
from camtl.model import CaMtlModel

# Part of a parameter outside the pretrained encoder, by the first component of its name.
PARTS = {
    "task_embedding": "task embedding",
    "task_transformation": "task embedding",
    "alignment": "conditional alignment",
    "attention_bias": "conditional attention",
    "bottlenecks": "conditional bottleneck",
    "bottleneck_norm": "conditional bottleneck",
    "pooler": "pooler",
    "heads": "heads",
}


class PartSize(NamedTuple):
    """Number of parameters of a part of the model, and of its trainable ones."""

    part: str
    total: int
    trainable: int


def parameter_table(model: CaMtlModel) -> list[PartSize]:
    """Counts the parameters of each part: the encoder's first, then the conditional parts', then the heads'."""
    layers = model.layers()
    half = len(layers) // 2
    pretrained = {
        "embeddings": model.embeddings(),
        f"layers 0-{half - 1}": layers[:half],
        f"layers {half}-{len(layers) - 1}": layers[half:],
    }
    part_of = {id(p): part for part, module in pretrained.items() for p in pretrained_parameters(module)}
    for parameter in pretrained_parameters(model.encoder):
        part_of.setdefault(id(parameter), "pooler and final norm")
    parts: dict[str, list[nn.Parameter]] = {
        part: [] for part in (*pretrained, "pooler and final norm", "conditional layer norm")
    }
    for name, parameter in model.named_parameters():
        default = "conditional layer norm" if name.startswith("encoder.") else PARTS[name.split(".")[0]]
        parts.setdefault(part_of.get(id(parameter), default), []).append(parameter)
    return [_size(part, parameters) for part, parameters in parts.items() if parameters]


def format_table(table: Sequence[PartSize]) -> str:
    """Formats the table as text, one line per part and one for the sum."""
    lines = [f"{'parameters':26}{'total':>14}{'trainable':>14}"]
    total = PartSize("all", sum(part.total for part in table), sum(part.trainable for part in table))
    lines += [f"  {part:24}{total:>14,}{trainable:>14,}" for part, total, trainable in [*table, total]]
    return "\n".join(lines)


def count_parameters(model: CaMtlModel) -> dict[str, float]:
    """Counts the parameters of the model: `total`, `trainable`, and `versus_separate_models`.

    The last is the total over that of one plain encoder with a head for each task.
    """
    _, total, trainable = _size("model", model.parameters())
    heads = _size("heads", model.heads.parameters()).total
    separate = plain_encoder_size(model) * len(model.config.tasks) + heads
    return {"total": total, "trainable": trainable, "versus_separate_models": total / separate}


def plain_encoder_size(model: CaMtlModel) -> int:
    """Counts the encoder's parameters without the conditional parts; a new pooler counts as the encoder's."""
    pooler = getattr(model, "pooler", None)
    new = [] if pooler is None else list(pooler.parameters())
    return _size("encoder", [*new, *pretrained_parameters(model.encoder)]).total


def _size(part: str, parameters: Iterable[nn.Parameter]) -> PartSize:
    sizes = [(p.numel(), p.requires_grad) for p in parameters]
    return PartSize(part, sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains))
