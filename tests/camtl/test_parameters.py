"""Every parameter is counted once, in the part it belongs to."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig

from camtl import CaMtlConfig, CaMtlModel, HeadSpec
from camtl.freezing import freeze
from camtl.parameters import count_parameters, format_table, parameter_table, plain_encoder_size
from tests.toy import ENCODERS, make_model

BERT_LARGE = {
    "model_type": "bert",
    "vocab_size": 28_996,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}


def test_parameters_are_counted_against_a_model_per_task() -> None:
    model, plain = make_model("base"), make_model("none")
    heads, encoder = (sum(p.numel() for p in part.parameters()) for part in (plain.heads, plain.encoder))
    counts = count_parameters(model)
    assert counts["total"] == sum(parameter.numel() for parameter in model.parameters())
    assert counts["versus_separate_models"] == pytest.approx(counts["total"] / (3 * encoder + heads))


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("variant", ["base", "large", "none"])
def test_the_parts_add_up_to_the_model(family: str, variant: str) -> None:
    model = make_model(variant, backbone_config=ENCODERS[family])
    freeze(model, "bottom_half")
    table = parameter_table(model)
    counted = count_parameters(model)
    assert sum(part.total for part in table) == counted["total"]
    assert sum(part.trainable for part in table) == counted["trainable"]
    assert len({part.part for part in table}) == len(table)
    conditional = [part for part in table if part.part.startswith("conditional")]
    assert len(conditional) == (0 if variant == "none" else 4)
    assert all(part.total == part.trainable for part in conditional)
    sizes = {part.part: part for part in table}
    assert sizes["embeddings"].trainable == 0
    assert sizes["heads"].trainable == sizes["heads"].total == 32 * 6 + 6
    first_half = next(part for part in table if part.part.startswith("layers 0-"))
    assert first_half.trainable == 0
    assert format_table(table).splitlines()[-1].split()[1] == f"{counted['total']:,}"


@pytest.mark.parametrize(
    ("num_tasks", "backbone", "variant", "options", "low", "high"),
    [  # a small task embedding makes many tasks cheap
        (24, BERT_LARGE, "base", {"task_embedding_size": 64}, 1.0, 1.03),
        (24, BERT_LARGE, "large", {"task_embedding_size": 64, "bottleneck_reduction": 6}, 1.0, 1.05),
        (24, BERT_LARGE, "large", {"task_embedding_size": 64}, 1.0, 1.08),
        # as published: x1.18 and x1.44 for 8 tasks
        (8, AutoConfig.for_model("bert").to_dict(), "base", {}, 1.17, 1.19),
        (8, BERT_LARGE, "large", {}, 1.43, 1.45),
    ],
)
def test_the_conditional_parts_have_the_published_size_or_less(
    num_tasks: int, backbone: dict[str, Any], variant: str, options: dict[str, Any], low: float, high: float
) -> None:
    heads = {f"task{number}": HeadSpec() for number in range(num_tasks)}
    with torch.device("meta"):
        model = CaMtlModel(
            CaMtlConfig(variant=variant, tasks=list(heads), heads=heads, backbone_config=backbone, **options)
        )
    assert low < count_parameters(model)["total"] / plain_encoder_size(model) < high
