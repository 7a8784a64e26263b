"""How many parameters a model has, where, and how many of them train."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import nn

from camtl.freezing import outside_generators
from camtl.model import CaMtlModel

# What a parameter outside of the pretrained encoder belongs to, by the first part of its name.
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
    """Parameters of a part of the model, and those that train."""

    part: str
    total: int
    trainable: int


def parameter_table(model: CaMtlModel) -> list[PartSize]:
    """The sizes of a model's parts, the encoder's first, then what CA-MTL adds, then the heads."""
    own = nn.ModuleDict({name: module for name, module in model.named_children() if name != "encoder"})
    layers = model.layers()
    half = len(layers) // 2
    pretrained = {
        "embeddings": _pretrained(model.embeddings()),
        f"layers 0-{half - 1}": _pretrained(layers[:half]),
        f"layers {half}-{len(layers) - 1}": _pretrained(layers[half:]),
    }
    counted = {id(parameter) for parameters in pretrained.values() for parameter in parameters}
    rest = [p for p in _pretrained(model.encoder) if id(p) not in counted]
    generators = {id(p) for p in model.encoder.parameters()} - counted - {id(p) for p in rest}
    parts: dict[str, list[nn.Parameter]] = {**pretrained, "pooler and final norm": rest}
    parts["conditional layer norm"] = [p for p in model.encoder.parameters() if id(p) in generators]
    for name, parameter in own.named_parameters():
        parts.setdefault(PARTS[name.split(".")[0]], []).append(parameter)
    return [_size(part, parameters) for part, parameters in parts.items() if parameters]


def format_table(table: Sequence[PartSize]) -> str:
    """The table for a person, a line per part and one for all."""
    lines = [f"{'parameters':26}{'total':>14}{'trainable':>14}"]
    whole = PartSize("all", sum(part.total for part in table), sum(part.trainable for part in table))
    lines += [f"  {part:24}{total:>14,}{trainable:>14,}" for part, total, trainable in [*table, whole]]
    return "\n".join(lines)


def count_parameters(model: CaMtlModel) -> dict[str, float]:
    """Parameters of the model: `total`, `trainable`, and `versus_separate_models`.

    The last is the total over that of one plain encoder with a head for each task.
    """
    whole = _size("model", model.parameters())
    heads = _size("heads", model.heads.parameters()).total
    separate = plain_encoder_size(model) * len(model.config.tasks) + heads
    return {
        "total": whole.total,
        "trainable": whole.trainable,
        "versus_separate_models": whole.total / separate,
    }


def plain_encoder_size(model: CaMtlModel) -> int:
    """Parameters of the encoder without what CA-MTL adds; a new pooler is the plain encoder's too."""
    pooler = getattr(model, "pooler", None)
    new = 0 if pooler is None else _size("pooler", pooler.parameters()).total
    return new + _size("encoder", _pretrained(model.encoder)).total


def _pretrained(module: nn.Module) -> list[nn.Parameter]:
    return [p for part in outside_generators(module) for p in part.parameters(recurse=False)]


def _size(part: str, parameters: Iterable[nn.Parameter]) -> PartSize:
    listed = list(parameters)
    return PartSize(part, sum(p.numel() for p in listed), sum(p.numel() for p in listed if p.requires_grad))
