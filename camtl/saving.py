"""Saving and loading a model, complete or as adapters only.

A checkpoint of adapters only leaves out every tensor that equals the backbone's. Its configuration has the
backbone's name and revision and a fingerprint of the omitted tensors, so that loading with another backbone
raises an error.
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
MAX_NAMES = 5  # in an error message


class AdapterCheckpoints(PreTrainedModel):
    """transformers' saving and loading, plus checkpoints of adapters only. Every weight name must match."""

    config: CaMtlConfig

    def save_pretrained(
        self, save_directory: Any, *args: Any, adapters_only: bool = False, **kwargs: Any
    ) -> None:
        """Saves the model as transformers does; `adapters_only`: only the tensors that differ from the backbone's.

        Raises:
            ValueError: `adapters_only` for a model without a backbone.
        """
        if not adapters_only:
            super().save_pretrained(save_directory, *args, **kwargs)
            return
        config = self.config
        if config.backbone is None:
            raise ValueError(
                "adapters_only needs a model with a backbone, and this one has none: "
                "make it with CaMtlModel.from_backbone"
            )
        backbone = read_weights(config.backbone, config.backbone_revision)
        adapters, config.backbone_fingerprint = split_off_backbone(self.state_dict(), backbone)
        try:
            super().save_pretrained(save_directory, *args, **{**kwargs, "state_dict": adapters})
        finally:
            config.backbone_fingerprint = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Loads a model as transformers does; reads the backbone for a checkpoint of adapters only.

        Raises:
            ValueError: weights are missing, unexpected or of another shape, or the adapters were trained on
                another version of the backbone.
        """
        output_loading_info = kwargs.pop("output_loading_info", False)
        ignore_mismatched_sizes = kwargs.pop("ignore_mismatched_sizes", False)
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path,
            *args,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that one error below lists all misfits
            **kwargs,
        )
        model, info = loaded
        other_shape = [entry if isinstance(entry, str) else entry[0] for entry in info["mismatched_keys"]]
        missing = sorted(set(info["missing_keys"]) - set(other_shape))
        if model.config.backbone_fingerprint is not None:
            missing = model._load_backbone(missing)
            info["missing_keys"] = set(missing)
        misfits = {
            "missing": missing,
            "unexpected": sorted(info["unexpected_keys"]),
            "of another shape": [] if ignore_mismatched_sizes else sorted(other_shape),
        }
        if any(misfits.values()):
            parts = "; ".join(f"{kind}: {_join_first(names)}" for kind, names in misfits.items() if names)
            raise ValueError(
                f"{pretrained_model_name_or_path} does not fit this configuration ({parts}): load it with "
                "its own config.json, or use the tasks, switches and backbone that it was trained with"
            )
        return (model, info) if output_loading_info else model

    @torch.no_grad()
    def _load_backbone(self, missing: Sequence[str]) -> list[str]:
        """Loads the weights that a checkpoint of adapters only omits; returns the names still missing.

        Raises:
            ValueError: the backbone is not the one that the adapters were trained on.
        """
        config = self.config
        backbone = read_weights(str(config.backbone), config.backbone_revision)
        backbone = {f"{ENCODER}{name}": value for name, value in backbone.items()}
        omitted = {name: backbone[name] for name in missing if name in backbone}
        if fingerprint(omitted) != config.backbone_fingerprint:
            raise ValueError(
                f"the adapters were trained on another version of backbone {config.backbone!r} than the one "
                f"installed here: {_join_first(list(omitted))} differ"
            )
        state = self.state_dict()
        for name, value in omitted.items():
            state[name].copy_(value)
        config.backbone_fingerprint = None  # the model is complete
        return [name for name in missing if name not in omitted]


def split_off_backbone(
    state: Mapping[str, Tensor], backbone: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """Returns a model's tensors that the backbone lacks or has with other values, and the others' fingerprint."""
    same = {
        name: pretrained
        for name, value in state.items()
        if name.startswith(ENCODER)
        and (pretrained := backbone.get(name.removeprefix(ENCODER))) is not None
        and pretrained.shape == value.shape
        and torch.equal(pretrained, value.to("cpu", pretrained.dtype))
    }
    return {name: value for name, value in state.items() if name not in same}, fingerprint(same)


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _join_first(names: Sequence[str]) -> str:
    joined = ", ".join(names[:MAX_NAMES])
    return joined if len(names) <= MAX_NAMES else f"{joined} and {len(names) - MAX_NAMES} more"
