"""How the conditional parts are set into a pretrained encoder of the BERT family.

The encoder is the one that transformers ships. A family says how to reach its pieces; a new family is
one more small class in `FAMILIES`.
"""

from transformers import PretrainedConfig

from camtl.backbones.bert import Bert, Electra, Roberta
from camtl.backbones.family import Family, Rotations
from camtl.backbones.modernbert import ModernBert
from camtl.backbones.pretrained import check_weights, read_config, read_weights, resolve_backbone

__all__ = [
    "FAMILIES",
    "Family",
    "Rotations",
    "check_weights",
    "family_of",
    "read_config",
    "read_weights",
    "resolve_backbone",
]

FAMILIES: dict[str, Family] = {
    "bert": Bert(),
    "electra": Electra(),
    "modernbert": ModernBert(),
    "roberta": Roberta(),
    "xlm-roberta": Roberta(),
}


def family_of(config: PretrainedConfig) -> Family:
    """The family of an encoder.

    Raises:
        ValueError: it is not one that CA-MTL knows; the error names those that are.
    """
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"backbone family {config.model_type!r} is not supported: use one of {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[config.model_type]
