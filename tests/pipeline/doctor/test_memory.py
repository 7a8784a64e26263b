"""The estimate of a rank's memory holds what a step keeps, and not much more; too little of it is told."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from camtl import CaMtlConfig, CaMtlModel, PackedBatch
from pipeline.doctor.memory import ModelShape, check_gpus, check_hosts, estimate_bytes, shape_of
from tests.toy import ENCODERS, HEADS, NAMES, make_rows

ROWS, LENGTH = 8, 64
WIDER = {
    "hidden_size": 128,
    "num_attention_heads": 2,
    "intermediate_size": 512,
    "max_position_embeddings": 128,
}
BERT_BASE = ModelShape(
    parameters=110_000_000,
    trainable=60_000_000,
    hidden=768,
    widest=3072,
    layers=12,
    heads=12,
    conditional=True,
    conditional_attention=True,
    dropout=True,
)


def make_model(family: str, variant: str, dropout: float) -> CaMtlModel:
    encoder = {**ENCODERS[family], "model_type": family, **WIDER}
    if family == "modernbert":
        encoder |= {"attention_dropout": dropout, "mlp_dropout": dropout, "embedding_dropout": dropout}
    else:
        encoder |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = CaMtlConfig(
        variant=variant, tasks=list(NAMES), heads=HEADS, max_seq_length=LENGTH, backbone_config=encoder
    )
    return CaMtlModel(config).train()


def bytes_kept(model: CaMtlModel, *, bfloat16: bool) -> int:
    """What a forward pass of rows of full length really keeps for the backward pass, weights left out."""
    rows = make_rows([LENGTH] * ROWS, [row % len(NAMES) for row in range(ROWS)])
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}  # held, so that no address is given out twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
    ):
        model(packed=PackedBatch.pack(rows), labels=dict(rows.labels_by_task(list(NAMES))))
    return sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights)


def estimate(shape: ModelShape, **changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "rows": ROWS,
        "candidates": 0,
        "encodings_per_row": 1.0,
        "max_seq_length": LENGTH,
        "bfloat16": False,
        "on_gpu": False,
        "gradient_checkpointing": False,
    }
    return estimate_bytes(shape, **{**arguments, **changes})


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(
    ("family", "variant", "dropout"),
    [("bert", "none", 0.0), ("bert", "base", 0.1), ("bert", "large", 0.0), ("modernbert", "base", 0.0)],
)
def test_the_estimate_holds_what_a_step_keeps_and_little_more(
    family: str, variant: str, dropout: float, bfloat16: bool
) -> None:
    model = make_model(family, variant, dropout)
    shape = shape_of(model)
    found = estimate(shape, bfloat16=bfloat16)
    copies = found.weights - 4 * shape.parameters  # of the weights in bfloat16, which are kept too
    assert 1.0 <= (found.activations + copies) / bytes_kept(model, bfloat16=bfloat16) <= 1.6


def test_a_model_without_memory_has_the_same_shape() -> None:
    with torch.device("meta"):
        shape = shape_of(make_model("bert", "base", 0.1))
    assert shape == shape_of(make_model("bert", "base", 0.1))


def test_what_is_frozen_has_no_gradients_and_no_moments() -> None:
    found, frozen = estimate(BERT_BASE), estimate(replace(BERT_BASE, trainable=0))
    assert (found.gradients, found.moments) == (4 * 60_000_000, 8 * 60_000_000)
    assert (frozen.gradients, frozen.moments) == (0, 0)
    assert found.weights == frozen.weights == 4 * 110_000_000


def test_what_the_mend_names_makes_it_smaller() -> None:
    usual = estimate(BERT_BASE, rows=32, max_seq_length=128)
    for smaller in ({"rows": 16}, {"max_seq_length": 64}, {"gradient_checkpointing": True}):
        assert estimate(BERT_BASE, **{"rows": 32, "max_seq_length": 128} | smaller).total < usual.total


def test_windows_and_choices_count() -> None:
    usual, windows = estimate(BERT_BASE), estimate(BERT_BASE, encodings_per_row=2.5)
    assert windows.activations == 2.5 * usual.activations
    assert estimate(BERT_BASE, rows=0, candidates=100, encodings_per_row=2.0).activations > 0


def test_a_large_pool_counts_where_it_is_more_than_training() -> None:
    assert estimate(BERT_BASE, candidates=2 * ROWS) == estimate(BERT_BASE)
    assert estimate(BERT_BASE, candidates=64 * ROWS).activations > 2 * estimate(BERT_BASE).activations


def test_a_gpu_that_is_too_small_is_named_with_the_mend() -> None:
    needed = estimate(BERT_BASE, rows=32, max_seq_length=128, on_gpu=True).total
    [finding] = check_gpus(needed, {"10.0.0.1": (needed + 1, needed - 1), "10.0.0.2": (needed + 1,)})
    assert finding.ok is False
    assert "GPU 1 of node 10.0.0.1" in finding.told
    assert "GPU 0" not in finding.told
    assert "train.gradient_accumulation" in finding.mend


def test_gpus_that_are_large_enough_are_well_and_silent_ones_unknown() -> None:
    assert [found.ok for found in check_gpus(10, {"a": (10, 11)})] == [True]
    assert [found.ok for found in check_gpus(10, {"a": None, "b": (11,)})] == [None, True]


def test_all_ranks_of_a_machine_count() -> None:
    assert [found.ok for found in check_hosts(10, {"a": 2, "b": 1}, {"a": 20, "b": 10})] == [True]
    [finding] = check_hosts(10, {"a": 2, "b": 1}, {"a": 19, "b": 10})
    assert finding.ok is False
    assert "2 on node a" in finding.told
    assert "node b" not in finding.told
