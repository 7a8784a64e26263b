"""Parameters are counted once each, by the part they belong to."""

import pytest
import torch
from transformers import AutoConfig

from camtl import CaMtlConfig, CaMtlModel, HeadSpec
from camtl.freezing import freeze
from camtl.parameters import count_parameters, parameter_table, plain_encoder_size
from tests.toy import ENCODERS, make_model

BERT_LARGE = {
    "model_type": "bert",
    "vocab_size": 28_996,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}


@pytest.mark.parametrize("variant", ["base", "none"])
def test_parameters_are_counted_against_a_model_per_task(variant: str) -> None:
    model, plain = make_model(variant), make_model("none")
    freeze(model, "embeddings")
    counted = count_parameters(model)
    assert counted["total"] == sum(parameter.numel() for parameter in model.parameters())
    frozen = sum(parameter.numel() for parameter in model.embeddings().parameters())
    assert counted["trainable"] == counted["total"] - frozen
    separate = 3 * sum(p.numel() for p in plain.encoder.parameters()) + sum(
        p.numel() for p in plain.heads.parameters()
    )
    assert counted["versus_separate_models"] == pytest.approx(counted["total"] / separate)


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("variant", ["base", "large", "none"])
def test_the_parts_add_up_to_the_model(family: str, variant: str) -> None:
    model = make_model(variant, backbone_config={**ENCODERS[family], "model_type": family})
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


def of_24_tasks(backbone: dict[str, object], variant: str, **changes: object) -> CaMtlModel:
    tasks = [f"task{number}" for number in range(24)]
    with torch.device("meta"):
        return CaMtlModel(
            CaMtlConfig(
                variant=variant,
                tasks=tasks,
                heads={task: HeadSpec() for task in tasks},
                backbone_config=backbone,
                **changes,  # type: ignore[arg-type]
            )
        )


@pytest.mark.parametrize(
    ("variant", "reduction", "at_most"), [("base", 3, 1.03), ("large", 6, 1.05), ("large", 3, 1.08)]
)
def test_a_small_task_embedding_makes_24_tasks_on_bert_large_cheap(
    variant: str, reduction: int, at_most: float
) -> None:
    model = of_24_tasks(BERT_LARGE, variant, task_embedding_size=64, bottleneck_reduction=reduction)
    ratio = count_parameters(model)["total"] / plain_encoder_size(model)
    assert 1.0 < ratio < at_most


def test_the_published_shape_has_the_published_size() -> None:
    """The design tells x1.18 (base) and x1.44 (large) for 8 tasks at BERT sizes."""
    base = AutoConfig.for_model("bert").to_dict()
    for backbone, variant, expected in ((base, "base", 1.18), (BERT_LARGE, "large", 1.44)):
        tasks = [f"task{number}" for number in range(8)]
        with torch.device("meta"):
            heads = {task: HeadSpec() for task in tasks}
            config = CaMtlConfig(variant=variant, tasks=tasks, heads=heads, backbone_config=backbone)
            model = CaMtlModel(config)
        assert count_parameters(model)["total"] / plain_encoder_size(model) == pytest.approx(
            expected, abs=0.01
        )
