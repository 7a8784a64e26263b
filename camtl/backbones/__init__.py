"""Pretrained encoders of the BERT family as transformers ships them, and where the conditional parts attach.

To support another encoder, add a small `Family` class and list it in `FAMILIES`. The model uses this package.
"""

from transformers import PretrainedConfig

from camtl.backbones.bert import Bert, Electra, Roberta
from camtl.backbones.family import Family
from camtl.backbones.modernbert import ModernBert
from camtl.backbones.pretrained import check_weights, read_config, read_weights, resolve_backbone

__all__ = ["FAMILIES", "check_weights", "family_of", "read_config", "read_weights", "resolve_backbone"]

FAMILIES: dict[str, Family] = {
    "bert": Bert(),
    "electra": Electra(),
    "modernbert": ModernBert(),
    "roberta": Roberta(),
    "xlm-roberta": Roberta(),
}


def family_of(config: PretrainedConfig) -> Family:
    """Returns the family of an encoder. Raises ValueError, with the supported families, for any other."""
    if config.model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ValueError(f"backbone family {config.model_type!r} is not supported: use one of {known}")
    return FAMILIES[config.model_type]
