"""The memory estimate covers what a step keeps, and not much more; a device that is too small is named."""

from typing import Any

import pytest
import torch

from camtl import CaMtlModel, PackedBatch
from pipeline.doctor.capacity import compare_memory
from pipeline.doctor.memory import rank_bytes
from tests.toy import ENCODERS, NAMES, make_config, make_rows

ROWS, LENGTH = 8, 64
WIDER = {"hidden_size": 128, "intermediate_size": 512, "max_position_embeddings": 128}


def make_model(family: str = "bert", variant: str = "base", dropout: float = 0.1) -> CaMtlModel:
    encoder = {**ENCODERS[family], "model_type": family, **WIDER}
    encoder |= dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), dropout)
    return CaMtlModel(make_config(variant, max_seq_length=LENGTH, backbone_config=encoder)).train()


def bytes_kept(model: CaMtlModel, *, bfloat16: bool) -> int:
    """The bytes that a forward pass of rows of full length keeps for the backward pass, without weights."""
    rows = make_rows([LENGTH] * ROWS, [row % len(NAMES) for row in range(ROWS)])
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}  # references, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
    ):
        model(packed=PackedBatch.pack(rows), labels=dict(rows.labels_by_task(list(NAMES))))
    return sum(t.untyped_storage().nbytes() for address, t in kept.items() if address not in weights)


def estimate(model: CaMtlModel, **changes: Any) -> int:
    arguments: dict[str, Any] = {"rows": ROWS, "encodings_per_row": 1.0, "max_seq_length": LENGTH, **changes}
    switches = ("candidates", "bfloat16", "on_gpu", "gradient_checkpointing")
    return rank_bytes(model, **dict.fromkeys(switches, 0) | arguments)


def activations(model: CaMtlModel, **changes: Any) -> int:
    """What the rows of a step add to the estimate."""
    return estimate(model, **changes) - estimate(model, **changes | {"rows": 0, "candidates": 0})


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(
    ("family", "variant", "dropout"),
    [("bert", "none", 0.0), ("bert", "base", 0.1), ("bert", "large", 0.0), ("modernbert", "base", 0.0)],
)
def test_the_estimate_covers_what_a_step_keeps_and_little_more(
    family: str, variant: str, dropout: float, bfloat16: bool
) -> None:
    model = make_model(family, variant, dropout)
    copies = 2 * bfloat16 * sum(p.numel() for p in model.parameters())  # of the weights, kept too
    covered = activations(model, bfloat16=bfloat16) + copies
    assert 1.0 <= covered / bytes_kept(model, bfloat16=bfloat16) <= 1.6


def test_frozen_parameters_have_no_gradients_and_no_moments() -> None:
    model = make_model()
    trained = estimate(model)
    assert trained - estimate(model.requires_grad_(False)) == 12 * sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "least", "most"),  # times what the usual settings take
    [
        ({"rows": ROWS // 2}, 0.5, 0.5),
        ({"encodings_per_row": 2.5}, 2.5, 2.5),
        ({"candidates": ROWS}, 1.0, 1.0),
        ({"candidates": 64 * ROWS}, 2.0, 64.0),
        ({"max_seq_length": LENGTH // 2}, 0.0, 0.99),
        ({"gradient_checkpointing": True}, 0.0, 0.99),
        ({"on_gpu": True}, 0.0, 0.99),
    ],
)
def test_activations_follow_the_settings(changes: dict[str, Any], least: float, most: float) -> None:
    with torch.device("meta"):
        model = make_model()
    assert least <= activations(model, **changes) / activations(model) <= most


@pytest.mark.parametrize(
    ("devices", "results"),
    [
        ({"node a": (2, 20), "node b": (1, 10)}, [True]),
        ({"GPU 0 of node a": (1, None), "GPU 0 of node b": (1, 11)}, [None, True]),
        ({}, []),
    ],
)
def test_every_device_has_to_hold_its_ranks(devices: dict[str, Any], results: list[bool | None]) -> None:
    assert [finding.ok for finding in compare_memory(10, "memory", devices)] == results


def test_a_device_that_is_too_small_is_named_with_a_remedy() -> None:
    [finding] = compare_memory(10, "memory", {"node a": (2, 19), "node b": (1, 10)})
    assert finding.message == "a worker may need 10 bytes of memory: node a has 19 bytes free for 2"
    assert finding.remedy.startswith("raise train.gradient_accumulation")
