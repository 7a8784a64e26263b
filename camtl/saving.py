"""Saving a model, whole or as adapters only, and loading what was saved.

A checkpoint of adapters only leaves out every tensor that equals the backbone's. Its configuration
names the backbone, its revision, and a fingerprint of what was left out, so that loading over another
backbone is refused instead of giving another model.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from camtl.backbones import read_weights
from camtl.config import CaMtlConfig

ENCODER = "encoder."
NAMES_TOLD = 5


class SavesAdapters(PreTrainedModel):
    """transformers' saving and loading, with checkpoints of adapters only, and strict about names."""

    config: CaMtlConfig

    def save_pretrained(
        self, save_directory: Any, *args: Any, adapters_only: bool = False, **kwargs: Any
    ) -> None:
        """As transformers' own.

        Args:
            save_directory: folder.
            adapters_only: keep only what differs from the backbone, and which backbone that is.

        Raises:
            ValueError: `adapters_only` of a model that was not made from a backbone.
        """
        if not adapters_only:
            super().save_pretrained(save_directory, *args, **kwargs)
            return
        config = self.config
        if config.backbone is None:
            raise ValueError(
                "adapters_only leaves the backbone out, and this model names none: "
                "make it with CaMtlModel.from_backbone"
            )
        backbone = read_weights(config.backbone, config.backbone_revision)
        kept, config.backbone_fingerprint = split_off_backbone(self.state_dict(), backbone)
        try:
            super().save_pretrained(save_directory, *args, **{**kwargs, "state_dict": kept})
        finally:
            config.backbone_fingerprint = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As transformers' own; a checkpoint of adapters only is completed from its backbone.

        Raises:
            ValueError: names are missing, left over or of another shape, or the backbone found is not
                the one that the adapters were trained on.
        """
        wants_told = kwargs.pop("output_loading_info", False)
        may_mismatch = kwargs.pop("ignore_mismatched_sizes", False)
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path,
            *args,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # all that does not fit is told at once, below
            **kwargs,
        )
        model, told = loaded
        other_shape = [entry if isinstance(entry, str) else entry[0] for entry in told["mismatched_keys"]]
        missing = sorted(set(told["missing_keys"]) - set(other_shape))
        if model.config.backbone_fingerprint is not None:
            missing = model._take_from_backbone(missing)
            told["missing_keys"] = set(missing)
        misfits = {
            "missing": missing,
            "left over": sorted(told["unexpected_keys"]),
            "of another shape": [] if may_mismatch else sorted(other_shape),
        }
        if any(misfits.values()):
            parts = "; ".join(f"{what}: {_some(names)}" for what, names in misfits.items() if names)
            raise ValueError(
                f"{pretrained_model_name_or_path} does not fit this configuration ({parts}): load it with "
                "its own config.json, or give the tasks, switches and backbone that it was trained with"
            )
        return (model, told) if wants_told else model

    @torch.no_grad()
    def _take_from_backbone(self, missing: Sequence[str]) -> list[str]:
        """Give the encoder what a checkpoint of adapters only left out; the names that stay missing.

        Raises:
            ValueError: the backbone is not the one that the adapters were trained on.
        """
        config = self.config
        backbone = read_weights(str(config.backbone), config.backbone_revision)
        left_out = [name for name in missing if name.removeprefix(ENCODER) in backbone]
        pretrained = {name: backbone[name.removeprefix(ENCODER)] for name in left_out}
        if fingerprint(pretrained) != config.backbone_fingerprint:
            raise ValueError(
                f"the adapters were trained on another version of backbone {config.backbone!r} than the one "
                f"found here: {_some(left_out)} differ"
            )
        own = self.state_dict()
        for name, value in pretrained.items():
            own[name].copy_(value)
        config.backbone_fingerprint = None  # the model is whole
        return [name for name in missing if name not in pretrained]


def split_off_backbone(
    state: Mapping[str, Tensor], backbone: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """What of a model's state is not the backbone's.

    Args:
        state: of the whole model.
        backbone: the pretrained encoder's weights, under their names in the encoder.

    Returns:
        (the tensors that differ from the backbone's or have none there, fingerprint of the others).
    """
    same = {
        name: theirs
        for name, value in state.items()
        if name.startswith(ENCODER)
        and (theirs := backbone.get(name.removeprefix(ENCODER))) is not None
        and theirs.shape == value.shape
        and torch.equal(theirs, value.to("cpu", theirs.dtype))
    }
    return {name: value for name, value in state.items() if name not in same}, fingerprint(same)


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _some(names: Sequence[str]) -> str:
    told = ", ".join(names[:NAMES_TOLD])
    return told if len(names) <= NAMES_TOLD else f"{told} and {len(names) - NAMES_TOLD} more"
