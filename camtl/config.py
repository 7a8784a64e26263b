"""`CaMtlConfig`: everything that defines the shape of a CA-MTL model, saved beside its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from camtl.backbones import family_of
from camtl.heads import HeadSpec

SWITCHES = ("conditional_attention", "conditional_alignment", "conditional_layer_norm", "bottleneck")
VARIANTS: dict[str, tuple[bool, bool, str, str]] = {  # values of the switches
    "base": (True, True, "top_half", "top"),
    "large": (True, True, "top_half", "all"),
    "none": (False, False, "none", "none"),
}
BOTTLENECKS = ("none", "top", "all")


class CaMtlConfig(PretrainedConfig):
    """Shape of a CA-MTL model.

    Args:
        variant: preset of the switches below: `base` (bottleneck in the top layer), `large`
            (bottlenecks on a skip path over all layers), `none` (plain shared encoder with heads).
        tasks: names of the tasks, in order; `task_ids` index this list.
        heads: a `HeadSpec` (or its fields as a dict) per task.
        max_seq_length: largest number of tokens in an encoding, L of the conditional attention.
        backbone: hub id, folder or `package:<name>` of the pretrained encoder.
        backbone_revision: commit of the hub's repository; None for other backbones.
        backbone_fingerprint: hash of the pretrained weights that a checkpoint of adapters only leaves out.
        backbone_config: the encoder's own configuration, as a dict.
        new_pooler: the backbone has no pretrained pooler, so a new one is trained.
        conditional_attention, conditional_alignment: switches of these parts; None takes the variant's.
        conditional_layer_norm: layers whose norms are conditional: `none`, `top_half`, `all`, `a-b`
            (`layer_range`); True is the paper's `top_half`, False `none`, None takes the variant's.
        bottleneck: `none`, `top` or `all`; None takes the variant's.
        task_embedding_size: size of the task embedding; None is the hidden size, as published.
        bottleneck_reduction: the bottleneck has `hidden_size // bottleneck_reduction` features.
        attention_blocks: N, attention blocks on the diagonal of M(z); None is max(1, hidden_size // L).
        random_top_layer: start the top layer from random weights, as the published base variant does:
            its names do not match the pretrained ones. Not supported for ModernBERT.
        dropout: dropout rate of the encoder and the heads; None keeps the encoder's own rates and gives
            the heads none.

    Raises:
        ValueError: a variant, switch or head is not known, or a task has no head or appears twice.
    """

    model_type = "camtl"

    def __init__(
        self,
        *,
        variant: str = "base",
        tasks: Sequence[str] = (),
        heads: Mapping[str, HeadSpec | Mapping[str, Any]] | None = None,
        max_seq_length: int = 128,
        backbone: str | None = None,
        backbone_revision: str | None = None,
        backbone_fingerprint: str | None = None,
        backbone_config: dict[str, Any] | None = None,
        new_pooler: bool = False,
        conditional_attention: bool | None = None,
        conditional_alignment: bool | None = None,
        conditional_layer_norm: str | bool | None = None,
        bottleneck: str | None = None,
        task_embedding_size: int | None = None,
        bottleneck_reduction: int = 3,
        attention_blocks: int | None = None,
        random_top_layer: bool = False,
        dropout: float | None = None,
        **kwargs: Any,
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"variant {variant!r} is not known: use one of {', '.join(VARIANTS)}")
        preset = dict(zip(SWITCHES, VARIANTS[variant], strict=True))

        def switch(name: str, value: Any) -> Any:
            return preset[name] if value is None else value

        self.variant = variant
        self.tasks = list(tasks)
        self.heads = {name: _as_dict(spec) for name, spec in (heads or {}).items()}
        self.max_seq_length = max_seq_length
        self.backbone = backbone
        self.backbone_revision = backbone_revision
        self.backbone_fingerprint = backbone_fingerprint
        self.backbone_config = backbone_config
        self.new_pooler = new_pooler
        self.conditional_attention: bool = switch("conditional_attention", conditional_attention)
        self.conditional_alignment: bool = switch("conditional_alignment", conditional_alignment)
        norms = switch("conditional_layer_norm", conditional_layer_norm)
        self.conditional_layer_norm: str = {True: "top_half", False: "none"}.get(norms, norms)
        self.bottleneck: str = switch("bottleneck", bottleneck)
        self.task_embedding_size = task_embedding_size
        self.bottleneck_reduction = bottleneck_reduction
        self.attention_blocks = attention_blocks
        self.random_top_layer = random_top_layer
        self.dropout = dropout
        self._check()
        super().__init__(**kwargs)

    def _check(self) -> None:
        if self.bottleneck not in BOTTLENECKS:
            raise ValueError(f"bottleneck {self.bottleneck!r} is not known: use {', '.join(BOTTLENECKS)}")
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks={self.tasks} names a task twice")
        if odd := sorted(set(self.tasks) ^ set(self.heads)):
            raise ValueError(f"tasks and heads name different tasks: only one of them has {', '.join(odd)}")
        for name in ("max_seq_length", "bottleneck_reduction", "attention_blocks", "task_embedding_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if self.attention_blocks is not None and self.attention_blocks > self.max_seq_length:
            raise ValueError(
                f"attention_blocks={self.attention_blocks} is more than max_seq_length={self.max_seq_length}: "
                "an attention block needs at least one position"
            )

    @property
    def has_conditional_layers(self) -> bool:
        """Whether any conditional part but the alignment is on."""
        return (
            self.conditional_attention or self.conditional_layer_norm != "none" or self.bottleneck != "none"
        )

    @property
    def has_conditions(self) -> bool:
        """Whether any conditional part is on."""
        return self.conditional_alignment or self.has_conditional_layers

    def head_spec(self, task: str) -> HeadSpec:
        """Returns the `HeadSpec` of a task by name."""
        return HeadSpec(**self.heads[task])

    def encoder_config(self) -> PretrainedConfig:
        """Returns the pretrained encoder's configuration, with `dropout` in place of its own rates.

        Raises:
            ValueError: the family is not supported, or `backbone_config` is None
                (`CaMtlModel.from_backbone` sets it).
        """
        if self.backbone_config is None:
            raise ValueError("there is no backbone_config: build it with CaMtlModel.from_backbone")
        fields = dict(self.backbone_config)
        config = AutoConfig.for_model(fields.pop("model_type"), **fields)
        if self.dropout is not None:
            for name in family_of(config).dropouts:
                setattr(config, name, self.dropout)
        return config


def _as_dict(spec: HeadSpec | Mapping[str, Any]) -> dict[str, Any]:
    fields = asdict(spec if isinstance(spec, HeadSpec) else HeadSpec(**spec))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
