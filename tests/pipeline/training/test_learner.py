"""A step on two workers is the step of one on the union of their rows."""

from typing import Any

import numpy as np
import pytest
import torch

from camtl import PackedBatch, TokenRows
from pipeline.training.learner import make_optimizer
from tests.pipeline.training.two_ranks import ACCUMULATIONS, STEPS, learn, make_learner
from tests.toy import NAMES, gradients, make_model, make_rows

ROWS = make_rows([5, 9, 7, 3, 4, 12], [0, 0, 2, 0, 1, 1])


def counts(rows: TokenRows) -> np.ndarray:
    return np.bincount(rows.task_ids, minlength=len(NAMES)).astype(np.float64)


@pytest.fixture(scope="module")
def one_worker() -> dict[str, torch.Tensor]:
    return learn([TokenRows.concatenate(ranks) for ranks in STEPS], 1)


@pytest.mark.parametrize("accumulation", ACCUMULATIONS)
@pytest.mark.parametrize("rank", [0, 1])
def test_two_workers_learn_what_one_learns_from_the_rows_of_both(
    two_ranks: list[dict[str, Any]], one_worker: dict[str, torch.Tensor], rank: int, accumulation: int
) -> None:
    """Three steps: a task on one rank only, a task on none, and fewer rows than micro-batches."""
    learned = two_ranks[rank]["learned"][accumulation]
    assert set(learned) == set(one_worker)
    start = dict(make_model("base").named_parameters())
    for name, expected in one_worker.items():
        torch.testing.assert_close(learned[name], expected, rtol=0, atol=1e-6, msg=name)
        assert ".key.bias" in name or not torch.equal(learned[name], start[name]), name


@pytest.mark.parametrize("factors", [None, [3.0, 1.0, 0.5]])
def test_the_gradient_is_that_of_the_mean_over_the_tasks_present(factors: list[float] | None) -> None:
    """A task of factor 3 counts as three."""
    model, same = make_model("base"), make_model("base")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    make_learner(model, task_factors=factors).step(ROWS, counts(ROWS))
    losses = same(packed=PackedBatch.pack(ROWS), labels=ROWS.labels_by_task(NAMES)).task_losses
    weights = factors or [1.0, 1.0, 1.0]
    weighted = [weight * losses[name] for weight, name in zip(weights, NAMES, strict=True)]
    (torch.stack(weighted).sum() / sum(weights)).backward()
    for name, gradient in gradients(same).items():
        moved = dict(model.named_parameters())[name].detach()
        torch.testing.assert_close(moved, before[name] - 0.1 * gradient, rtol=0, atol=1e-6)


def test_a_step_returns_summed_losses_and_entropies_per_task_and_counts_tokens() -> None:
    model = make_model("base")
    with torch.no_grad():
        expected = model(packed=PackedBatch.pack(ROWS), labels=ROWS.labels_by_task(NAMES)).task_losses
    learner = make_learner(model)
    losses, entropy = learner.step(ROWS, counts(ROWS))
    for task, name in enumerate(NAMES):
        assert losses[task].item() == pytest.approx(expected[name].item() * counts(ROWS)[task], rel=1e-5)
    assert entropy[2].item() == 0.0
    assert 0 < entropy[0].item() <= 3
    assert learner.tokens.real == 40
    assert learner.tokens.computed == PackedBatch.pack(ROWS).input_ids.numel()


def test_a_task_without_rows_keeps_its_head_as_it_is() -> None:
    """Neither weight decay nor the optimiser's memory of earlier steps moves it."""
    model = make_model("base")
    learner = make_learner(
        model, make_optimizer(model, learning_rate=1e-2, new_parameters_learning_rate=1e-2, weight_decay=0.5)
    )
    learner.step(ROWS, counts(ROWS))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = ROWS.take(np.flatnonzero(ROWS.task_ids != 2))
    learner.step(rows, counts(rows))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in moved if name.startswith("heads.")} == {
        f"heads.{task}.linear.{part}" for task in ("three", "two") for part in ("weight", "bias")
    }


def test_a_large_gradient_is_clipped_to_its_norm() -> None:
    model = make_model("base")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    make_learner(model, max_grad_norm=0.5).step(ROWS, counts(ROWS))
    squared = sum(float(((p.detach() - before[name]) ** 2).sum()) for name, p in model.named_parameters())
    assert squared**0.5 == pytest.approx(0.1 * 0.5, rel=1e-3)


def test_no_norm_and_no_bias_decays_and_new_parts_have_their_own_rate() -> None:
    model = make_model("base")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(
        model, learning_rate=1e-4, new_parameters_learning_rate=1e-3, weight_decay=0.01
    )
    seen = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.add(name)
            undecayed = name.endswith("bias") or name.lower().endswith("norm.weight")
            assert group["weight_decay"] == (0.0 if undecayed else 0.01), name
            pretrained = name.startswith("encoder.") and ".film." not in name
            assert group["lr"] == (1e-4 if pretrained else 1e-3), name
    assert seen == set(names.values())
