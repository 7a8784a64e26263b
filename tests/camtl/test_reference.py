"""Exactness: the same numbers as the published implementation gives, from its own weights."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from camtl import CaMtlModel, CaMtlOutput, PackedBatch, TokenRows
from camtl.freezing import freeze
from camtl.reference import from_reference, rename
from camtl.uncertainty import normalized_entropy, select_most_uncertain, task_mean_entropy
from tests.camtl.conftest import Reference

LENGTH = 16
INPUTS = {"input_ids": "input_ids", "attention_mask": "attention_mask", "token_type_ids": "token_type_ids"}


def load(reference: Reference) -> CaMtlModel:
    told = reference.told
    weights = {name[6:]: value for name, value in reference.tensors.items() if name.startswith("param/")}
    tasks = dict(zip(told["tasks"], told["num_labels"], strict=True))
    return from_reference(weights, told["bert_config"], told["kind"], tasks, LENGTH)


def run(model: CaMtlModel, reference: Reference, rows: Tensor, width: int = LENGTH) -> CaMtlOutput:
    """The model on some of the recorded rows, in this order, padded to a width."""
    tensors = reference.tensors
    task_ids = tensors["in/task_id"][rows]
    given = tensors["in/labels"][rows]
    labels = {
        name: given[task_ids == task]
        for task, name in enumerate(model.config.tasks)
        if (task_ids == task).any()
    }
    batch = {name: tensors[f"in/{name}"][rows, :width] for name in INPUTS}
    output: CaMtlOutput = model(**batch, task_ids=task_ids, labels=labels)
    return output


def assert_near(ours: Tensor, published: Tensor) -> None:
    torch.testing.assert_close(ours, published, rtol=0, atol=1e-5 * max(1.0, float(published.abs().max())))


def logits_by_row(output: CaMtlOutput, model: CaMtlModel, task_ids: Tensor) -> list[Tensor]:
    """Logits of each row, in batch order."""
    assert output.logits is not None
    left = {name: list(values) for name, values in output.logits.items()}
    return [left[model.config.tasks[task]].pop(0) for task in task_ids.tolist()]


def published_logits(reference: Reference) -> list[Tensor]:
    task_ids = reference.tensors["in/task_id"]
    left = {task: list(reference.tensors[f"out/logits.{task}"]) for task in range(3)}
    return [left[task].pop(0) for task in task_ids.tolist()]


def assert_gradients_near(model: CaMtlModel, reference: Reference) -> None:
    ours = dict(model.named_parameters())
    assert {rename(name, model.config.tasks) for name in reference.gradients} == set(ours)
    for name, published in reference.gradients.items():
        gradient = ours[rename(name, model.config.tasks)].grad
        assert gradient is not None, name
        tolerance = 1e-4 * float(published.abs().max()) + 1e-6
        torch.testing.assert_close(gradient, published, rtol=0, atol=tolerance, msg=name)


ORDERS = {"as recorded": [0, 1, 2, 3, 4, 5], "reversed": [5, 4, 3, 2, 1, 0], "mixed": [3, 0, 4, 2, 5, 1]}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_a_mixed_batch_gives_the_published_numbers_in_any_order(
    reference: Reference, order: list[int]
) -> None:
    model, tensors, rows = load(reference), reference.tensors, torch.tensor(order)
    output = run(model, reference, rows)
    assert output.last_hidden_state is not None
    assert output.pooler_output is not None
    real = tensors["in/attention_mask"][rows].bool()
    assert_near(output.last_hidden_state[real], tensors["out/sequence_output"][rows][real])
    assert_near(output.last_hidden_state, tensors["out/sequence_output"][rows])
    assert_near(output.pooler_output, tensors["out/pooled_output"][rows])
    published = published_logits(reference)
    for row, ours in zip(order, logits_by_row(output, model, tensors["in/task_id"][rows]), strict=True):
        assert_near(ours, published[row])
        entropy = normalized_entropy(ours[None]).item()
        assert entropy == pytest.approx(float(tensors["out/entropy"][row]), abs=1e-5)
    told = reference.told["scalars"]
    assert output.loss is not None
    assert output.task_losses is not None
    assert output.loss.item() == pytest.approx(told["loss"], rel=1e-5)
    for task, loss in zip(reference.told["tasks"], told["loss_per_task"], strict=True):
        assert output.task_losses[task].item() == pytest.approx(loss, rel=1e-5, abs=1e-5)
    output.loss.backward()
    assert_gradients_near(model, reference)


def test_the_mean_entropies_of_tasks_are_the_published_ones(reference: Reference) -> None:
    entropy, task_ids = reference.tensors["out/entropy"], reference.tensors["in/task_id"]
    means = task_mean_entropy(entropy, task_ids, 3)
    torch.testing.assert_close(
        means[task_ids], reference.tensors["out/entropy_mean"].float(), rtol=0, atol=1e-6
    )
    assert float(means.max()) == pytest.approx(reference.told["scalars"]["max_mean_entropy"], abs=1e-6)


def test_a_batch_padded_to_its_own_longest_row_gives_the_same_rows(reference: Reference) -> None:
    model, tensors = load(reference), reference.tensors
    lengths = tensors["in/attention_mask"].sum(1)
    rows = torch.nonzero(lengths < LENGTH).flatten()
    width = int(lengths[rows].max())
    assert width == 12
    output = run(model, reference, rows, width)
    assert output.last_hidden_state is not None
    real = tensors["in/attention_mask"][rows, :width].bool()
    assert_near(output.last_hidden_state[real], tensors["out/sequence_output"][rows, :width][real])
    published = published_logits(reference)
    for row, ours in zip(
        rows.tolist(), logits_by_row(output, model, tensors["in/task_id"][rows]), strict=True
    ):
        assert_near(ours, published[row])


def packed_rows(reference: Reference) -> TokenRows:
    tensors = {name: value.numpy() for name, value in reference.tensors.items() if name.startswith("in/")}
    real = tensors["in/attention_mask"].astype(bool)
    return TokenRows(
        input_ids=tensors["in/input_ids"][real],
        token_type_ids=tensors["in/token_type_ids"][real],
        offsets=np.concatenate([[0], np.cumsum(real.sum(1))]),
        task_ids=tensors["in/task_id"],
        labels=tensors["in/labels"],
        row_ids=np.arange(len(real)),
    )


@pytest.mark.parametrize("max_width", [16, 32, 256])
def test_a_packed_batch_gives_the_published_numbers(reference: Reference, max_width: int) -> None:
    model, tensors, rows = load(reference), reference.tensors, packed_rows(reference)
    batch = PackedBatch.pack(rows, max_width=max_width)
    assert batch.input_ids.shape[0] < len(rows), "nothing shares a sequence, so nothing is tested"
    output: CaMtlOutput = model(packed=batch, labels=rows.labels_by_task(model.config.tasks))
    assert output.last_hidden_state is not None
    assert output.loss is not None
    for row, length in enumerate(rows.lengths):
        assert_near(
            output.last_hidden_state[batch.encoding_ids == row], tensors["out/sequence_output"][row, :length]
        )
    published = published_logits(reference)
    for row, ours in enumerate(logits_by_row(output, model, tensors["in/task_id"])):
        assert_near(ours, published[row])
    assert output.loss.item() == pytest.approx(reference.told["scalars"]["loss"], rel=1e-5)
    output.loss.backward()
    assert_gradients_near(model, reference)


@pytest.mark.parametrize("layers", ["None", "0-1", "0-3"])
def test_freezing_names_the_published_weights_but_lets_every_conditional_part_train(
    reference: Reference, layers: str
) -> None:
    model = load(reference)
    freeze(model, "none" if layers == "None" else layers)
    published = reference.told["freeze"][layers]
    # There, the attention's generators stay frozen by a name that does not match, and the base variant's top
    # layer (`new_*`) trains by another; here `freeze` names pretrained weights, and all of them.
    conditional = {name for name in published["frozen"] if "cond_block_diag_attn" in name}
    renamed_top = {
        name
        for name in published["trainable"]
        if layers == "0-3" and ".new_" in name and "gb_weights" not in name and "random_weight" not in name
    }
    frozen = {
        rename(name, model.config.tasks) for name in (set(published["frozen"]) - conditional) | renamed_top
    }
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == frozen
    assert frozen or layers == "None"


def test_weights_of_another_variant_are_refused(reference: Reference) -> None:
    told = reference.told
    weights = {name[6:]: value for name, value in reference.tensors.items() if name.startswith("param/")}
    other = {"base": "large", "large": "base"}[told["kind"]]
    with pytest.raises(ValueError, match="do not fit variant"):
        from_reference(
            weights,
            told["bert_config"],
            other,
            dict(zip(told["tasks"], told["num_labels"], strict=True)),
            LENGTH,
        )


def selection_cases() -> list[tuple[str, int]]:
    return [*(("cases", number) for number in range(3)), *(("extra_cases", number) for number in range(2))]


@pytest.mark.parametrize(("kind", "number"), selection_cases())
def test_selection_gives_the_published_indices_and_scores(
    reference_file: Callable[[str], Path], kind: str, number: int
) -> None:
    case = json.loads(reference_file("selection.json").read_text())[kind][number]
    entropy = torch.cat([normalized_entropy(torch.tensor(logits)) for logits in case["logits"]])
    torch.testing.assert_close(entropy, torch.tensor(case["normalised_entropy"]), rtol=0, atol=1e-6)
    task_ids, tasks = torch.tensor(case["task_id"]), case["tasks"]
    copy_from = {tasks.index("sts-b"): tasks.index("mrpc")} if "sts-b" in tasks else None
    chosen, scores = select_most_uncertain(entropy, task_ids, case["train_batch_size"], copy_from=copy_from)
    torch.testing.assert_close(scores, torch.tensor(case["U"]), rtol=0, atol=1e-6)
    torch.testing.assert_close(scores[chosen], torch.tensor(case["selected_U"]), rtol=0, atol=1e-6)
    if case["min_gap_between_sorted_U"] > 0:
        assert chosen.tolist() == case["selected"]
    else:  # a copied score ties with its source: which of the two comes first is torch.topk's choice
        assert sorted(chosen.tolist()) == sorted(case["selected"])


def test_every_recorded_selection_is_tested(reference_file: Callable[[str], Path]) -> None:
    told = json.loads(reference_file("selection.json").read_text())
    assert [len(told[kind]) for kind in ("cases", "extra_cases")] == [3, 2]


def test_a_pool_of_regression_alone_keeps_its_order_where_the_published_code_divides_by_zero(
    reference_file: Callable[[str], Path],
) -> None:
    published = json.loads(reference_file("selection.json").read_text())["regression_only"]
    assert published["U"] == ["nan"] * 4
    chosen, scores = select_most_uncertain(
        torch.zeros(4), torch.zeros(4, dtype=torch.long), 4, copy_from={0: None}
    )
    assert chosen.tolist() == [0, 1, 2, 3]
    assert torch.isfinite(scores).all()
