"""`CaMtlConfig`: presets, switches and contradictory shapes."""

from typing import Any

import pytest

from camtl import CaMtlConfig, HeadSpec
from tests.toy import HEADS, NAMES, make_config, make_model


def switches(config: CaMtlConfig) -> tuple[bool, bool, str, str]:
    return (
        config.conditional_attention,
        config.conditional_alignment,
        config.conditional_layer_norm,
        config.bottleneck,
    )


def test_a_variant_sets_the_switches_and_each_can_be_set_alone() -> None:
    assert switches(make_config("base")) == (True, True, "top_half", "top")
    assert switches(make_config("large")) == (True, True, "top_half", "all")
    assert switches(make_config("none")) == (False, False, "none", "none")
    changed = make_config("base", conditional_attention=False, bottleneck="none")
    assert switches(changed) == (False, True, "top_half", "none")
    assert not make_config("none").has_conditions
    assert make_config("none", conditional_alignment=True).has_conditions


def test_the_norms_of_any_layers_can_be_made_conditional() -> None:
    for value, layers in {True: "top_half", False: "none", "all": "all", "0-1": "0-1"}.items():
        assert make_config("none", conditional_layer_norm=value).conditional_layer_norm == layers


def test_heads_may_be_given_as_their_fields() -> None:
    config = make_config(heads={name: {"num_labels": 4} for name in NAMES})
    assert config.head_spec("two") == HeadSpec(num_labels=4)


def test_dropout_replaces_the_encoders_own_only_if_it_is_set() -> None:
    assert make_config().encoder_config().hidden_dropout_prob == 0.0
    changed = make_config(dropout=0.3).encoder_config()
    assert changed.hidden_dropout_prob == changed.attention_probs_dropout_prob == 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "huge"}, "variant 'huge' is not known: use one of base, large, none"),
        ({"bottleneck": "bottom"}, "bottleneck 'bottom' is not known: use none, top, all"),
        ({"tasks": ["two", "two", "three", "score"]}, "names a task twice"),
        ({"tasks": ["two", "three"]}, "only one of them has score"),
        ({"heads": {**HEADS, "more": HeadSpec()}}, "only one of them has more"),
        ({"max_seq_length": 0}, "max_seq_length=0 must be at least 1"),
        ({"bottleneck_reduction": 0}, "bottleneck_reduction=0 must be at least 1"),
        ({"task_embedding_size": 0}, "task_embedding_size=0 must be at least 1"),
        ({"backbone_config": None}, r"build it with CaMtlModel\.from_backbone"),
        ({"attention_blocks": 17}, "attention_blocks=17 is more than max_seq_length=16"),
        ({"bottleneck_reduction": 33}, "=33 leaves nothing of the backbone's hidden size 32"),
    ],
)
def test_a_contradictory_shape_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(**changes)
