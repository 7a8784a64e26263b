"""Entropy and Algorithm 1's selection: worked examples and properties."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from camtl.uncertainty import normalized_entropy, segment_mean, select_most_uncertain

finite = st.floats(-30, 30, width=32)


@st.composite
def candidates(draw: st.DrawFn, max_tasks: int = 4) -> tuple[Tensor, Tensor]:
    """(entropy [N], task_ids [N]), with ties."""
    task_ids = draw(st.lists(st.integers(0, max_tasks - 1), max_size=40))
    values = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1, width=32))
    entropy = draw(st.lists(values, min_size=len(task_ids), max_size=len(task_ids)))
    return torch.tensor(entropy), torch.tensor(task_ids, dtype=torch.long)


@settings(deadline=None)
@given(
    st.integers(1, 8).flatmap(
        lambda classes: st.lists(
            st.lists(finite, min_size=classes, max_size=classes), min_size=1, max_size=10
        )
    )
)
def test_entropy_lies_between_zero_and_one(logits: list[list[float]]) -> None:
    entropy = normalized_entropy(torch.tensor(logits))
    assert entropy.shape == (len(logits),)
    assert bool(((entropy >= 0) & (entropy <= 1)).all())
    assert len(logits[0]) > 1 or bool((entropy == 0).all())


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_flat_prediction_is_the_least_certain_and_a_sharp_one_the_most(classes: int) -> None:
    flat, sharp = torch.zeros(1, classes), torch.eye(classes)[:1] * 200
    assert normalized_entropy(flat).item() == pytest.approx(
        math.log(classes) / (math.log(classes) + 1e-5), abs=1e-6
    )
    assert normalized_entropy(sharp).item() == 0.0


def test_entropy_of_half_precision_logits_is_computed_in_float32() -> None:
    half = torch.tensor([[0.3, -0.2, 1.5]]).bfloat16()
    assert normalized_entropy(half).dtype == torch.float32
    torch.testing.assert_close(normalized_entropy(half), normalized_entropy(half.float()))


def test_logits_that_are_not_finite_do_not_look_certain() -> None:
    assert normalized_entropy(torch.tensor([[float("nan"), 1.0], [float("nan")] * 2])).isnan().all()


def test_means_are_over_each_tasks_rows() -> None:
    means = segment_mean(torch.tensor([0.2, 0.4, 0.9]), torch.tensor([0, 0, 2]), 4)
    torch.testing.assert_close(means, torch.tensor([0.3, 0.0, 0.9, 0.0]))


def test_the_score_weighs_a_row_by_its_tasks_mean() -> None:
    # Means: 0.5 and 0.8; so 0.6 of the first task counts 0.375, less than 0.7 of the second.
    entropy, tasks = torch.tensor([0.6, 0.4, 0.7, 0.9]), torch.tensor([0, 0, 1, 1])
    chosen, scores = select_most_uncertain(entropy, tasks, 3)
    torch.testing.assert_close(scores, torch.tensor([0.375, 0.25, 0.7, 0.9]))
    assert chosen.tolist() == [3, 2, 0]


@settings(deadline=None)
@given(candidates(), st.data())
def test_selection_takes_distinct_rows_of_the_highest_scores(
    pool: tuple[Tensor, Tensor], data: st.DataObject
) -> None:
    entropy, task_ids = pool
    k = data.draw(st.integers(1, len(entropy) + 1))
    chosen, scores = select_most_uncertain(entropy, task_ids, k)
    assert len(chosen) == len(set(chosen.tolist())) == min(k, len(entropy))
    assert scores.shape == entropy.shape
    assert bool(torch.isfinite(scores).all())
    left = sorted(set(range(len(entropy))) - set(chosen.tolist()))
    assert not left or scores[chosen].min() >= scores[left].max()
    assert bool((scores[chosen].diff() <= 0).all())


@settings(deadline=None)
@given(candidates(), st.data(), st.floats(0.05, 1.0))
def test_a_bound_holds_until_the_other_tasks_have_no_rows(
    pool: tuple[Tensor, Tensor], data: st.DataObject, share: float
) -> None:
    entropy, task_ids = pool
    k = data.draw(st.integers(1, len(entropy) + 1))
    chosen, scores = select_most_uncertain(entropy, task_ids, k, max_share_per_task=share)
    again, _ = select_most_uncertain(entropy.clone(), task_ids.clone(), k, max_share_per_task=share)
    assert chosen.tolist() == again.tolist(), "ties are broken the same way every time"
    size = min(k, len(entropy))
    assert len(chosen) == len(set(chosen.tolist())) == size
    bound = max(1, int(share * size))
    taken, available = (torch.bincount(ids, minlength=4) for ids in (task_ids[chosen], task_ids))
    if bool((taken > bound).any()):
        assert all(taken[task] >= min(bound, int(available[task])) for task in range(4))
    for task in range(4):  # within a task the highest scores are selected
        rows = (task_ids == task).nonzero().flatten()
        inside = [int(row) for row in chosen if task_ids[row] == task]
        outside = sorted(set(rows.tolist()) - set(inside))
        assert not inside or not outside or scores[inside].min() >= scores[outside].max()


@pytest.mark.parametrize(
    ("entropy", "shares", "selected"),
    [
        ([0.9, 0.8, 0.7, 0.2, 0.1], None, [0, 1, 2, 3]),
        ([0.9, 0.8, 0.7, 0.2, 0.1], 0.5, [0, 1, 3, 4]),
        ([0.9, 0.8, 0.7, 0.2, 0.1], 0.25, [0, 3, 1, 2]),
        # A share per task; the third has no rows.
        ([0.9, 0.8, 0.7, 0.6, 0.1], [0.75, 0.25, 1.0], [0, 1, 2, 3]),
        ([0.9, 0.8, 0.7, 0.6, 0.1], [0.25, 0.75, 1.0], [0, 3, 4, 1]),
        ([0.5] * 5, 0.5, [0, 1, 3, 4]),  # ties: in the order of the candidates
    ],
)
def test_a_bound_passes_rows_to_other_tasks(entropy: list[float], shares: Any, selected: list[int]) -> None:
    bound = torch.tensor(shares) if isinstance(shares, list) else shares
    tasks = torch.tensor([0, 0, 0, 1, 1])
    chosen, _ = select_most_uncertain(torch.tensor(entropy), tasks, 4, max_share_per_task=bound)
    assert chosen.tolist() == selected


@settings(deadline=None)
@given(candidates(), st.integers(1, 50), st.sampled_from(["zero", "mean"]), st.sampled_from([None, 1, 2]))
def test_a_task_without_entropy_takes_its_sources_scores_by_position(
    pool: tuple[Tensor, Tensor], k: int, surplus: str, source: int | None
) -> None:
    entropy, task_ids = pool
    entropy = torch.where(task_ids == 0, 0.0, entropy)
    chosen, scores = select_most_uncertain(entropy, task_ids, k, copy_from={0: source}, surplus=surplus)
    assert len(set(chosen.tolist())) == len(chosen) == min(k, len(entropy))
    target = scores[task_ids == 0]
    others = scores[task_ids != 0]
    if len(others) == 0:
        assert chosen.tolist() == list(range(min(k, len(entropy)))), "regression alone keeps the plan's order"
        return
    source_scores = scores[task_ids == source] if source is not None else scores[:0]
    if len(source_scores) == 0:
        torch.testing.assert_close(target, others.mean().expand_as(target))
        return
    copied = min(len(target), len(source_scores))
    torch.testing.assert_close(target[:copied], source_scores[:copied])
    rest = source_scores.mean() if surplus == "mean" else torch.zeros(())
    torch.testing.assert_close(target[copied:], rest.expand(len(target) - copied))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k=0"),
        ({"max_share_per_task": 0.0}, "max_share_per_task=0.0"),
        ({"max_share_per_task": 1.5}, "max_share_per_task=1.5"),
        ({"surplus": "median"}, "surplus='median'"),
        ({"task_ids": torch.zeros(3, dtype=torch.long)}, r"\(2,\) and task_ids \(3,\)"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments = {"entropy": torch.zeros(2), "task_ids": torch.zeros(2, dtype=torch.long), "k": 1, **changes}
    with pytest.raises(ValueError, match=message):
        select_most_uncertain(**arguments)
