"""Exactness: the published implementation's weights give its recorded numbers."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from camtl import CaMtlModel, PackedBatch, TokenRows
from camtl.freezing import freeze
from camtl.reference import from_reference, rename
from camtl.uncertainty import normalized_entropy, segment_mean, select_most_uncertain
from tests.camtl.conftest import Reference
from tests.camtl.running import assert_near

LENGTH = 16
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def load(reference: Reference, variant: str | None = None) -> CaMtlModel:
    record = reference.record
    weights = {name[6:]: value for name, value in reference.tensors.items() if name.startswith("param/")}
    tasks = dict(zip(record["tasks"], record["num_labels"], strict=True))
    return from_reference(weights, record["bert_config"], variant or record["kind"], tasks, LENGTH)


def run(model: CaMtlModel, reference: Reference, rows: Tensor, width: int = LENGTH) -> Any:
    """Runs the model on some of the recorded rows, in this order, padded to a width."""
    tensors = reference.tensors
    task_ids, values = tensors["in/task_id"][rows], tensors["in/labels"][rows]
    names = model.config.tasks
    labels = {names[task]: values[task_ids == task] for task in task_ids.unique().tolist()}
    batch = {name: tensors[f"in/{name}"][rows, :width] for name in INPUTS}
    return model(**batch, task_ids=task_ids, labels=labels)


def by_row(logits: Sequence[Tensor | None], task_ids: Tensor) -> list[Tensor]:
    """Logits of each row, in batch order, from the logits of each task."""
    remaining = [[] if values is None else list(values) for values in logits]
    return [remaining[task].pop(0) for task in task_ids.tolist()]


def assert_published_logits(
    output: Any, model: CaMtlModel, reference: Reference, rows: Sequence[int]
) -> None:
    """Asserts that these rows have the recorded logits and entropies."""
    task_ids = reference.tensors["in/task_id"]
    published = by_row([reference.tensors[f"out/logits.{task}"] for task in range(3)], task_ids)
    logits = by_row([output.logits.get(name) for name in model.config.tasks], task_ids[list(rows)])
    for row, values in zip(rows, logits, strict=True):
        assert_near(values, published[row])
        entropy = normalized_entropy(values[None]).item()
        assert entropy == pytest.approx(float(reference.tensors["out/entropy"][row]), abs=1e-5)


def assert_gradients_near(model: CaMtlModel, reference: Reference) -> None:
    parameters = dict(model.named_parameters())
    assert {rename(name, model.config.tasks) for name in reference.gradients} == set(parameters)
    for name, published in reference.gradients.items():
        gradient = parameters[rename(name, model.config.tasks)].grad
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
    assert_near(output.last_hidden_state, tensors["out/sequence_output"][rows])
    assert_near(output.pooler_output, tensors["out/pooled_output"][rows])
    assert_published_logits(output, model, reference, order)
    scalars = reference.record["scalars"]
    assert output.loss.item() == pytest.approx(scalars["loss"], rel=1e-5)
    for task, loss in zip(reference.record["tasks"], scalars["loss_per_task"], strict=True):
        assert output.task_losses[task].item() == pytest.approx(loss, rel=1e-5, abs=1e-5)
    output.loss.backward()
    assert_gradients_near(model, reference)


def test_the_mean_entropies_of_tasks_are_the_published_ones(reference: Reference) -> None:
    entropy, task_ids = reference.tensors["out/entropy"], reference.tensors["in/task_id"]
    means = segment_mean(entropy, task_ids, 3)
    torch.testing.assert_close(
        means[task_ids], reference.tensors["out/entropy_mean"].float(), rtol=0, atol=1e-6
    )
    assert float(means.max()) == pytest.approx(reference.record["scalars"]["max_mean_entropy"], abs=1e-6)


def test_a_batch_padded_to_its_own_longest_row_gives_the_same_rows(reference: Reference) -> None:
    model, tensors = load(reference), reference.tensors
    lengths = tensors["in/attention_mask"].sum(1)
    rows = torch.nonzero(lengths < LENGTH).flatten()
    width = int(lengths[rows].max())
    assert width == 12
    output = run(model, reference, rows, width)
    real = tensors["in/attention_mask"][rows, :width].bool()
    assert_near(output.last_hidden_state[real], tensors["out/sequence_output"][rows, :width][real])
    assert_published_logits(output, model, reference, rows.tolist())


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
    output = model(packed=batch, labels=rows.labels_by_task(model.config.tasks))
    for row, length in enumerate(rows.lengths):
        assert_near(
            output.last_hidden_state[batch.encoding_ids == row], tensors["out/sequence_output"][row, :length]
        )
    assert_published_logits(output, model, reference, range(len(rows)))
    assert output.loss.item() == pytest.approx(reference.record["scalars"]["loss"], rel=1e-5)
    output.loss.backward()
    assert_gradients_near(model, reference)


@pytest.mark.parametrize("layers", ["None", "0-1", "0-3"])
def test_the_published_weights_freeze_but_every_conditional_part_trains(
    reference: Reference, layers: str
) -> None:
    model = load(reference)
    freeze(model, "none" if layers == "None" else layers)
    published = reference.record["freeze"][layers]
    # In the published code the attention's generators stay frozen and the base variant's top layer (`new_*`)
    # trains, both by names that do not match; here `freeze` affects all pretrained weights and no others.
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
    other = {"base": "large", "large": "base"}[reference.record["kind"]]
    with pytest.raises(ValueError, match="do not fit variant"):
        load(reference, other)


CASES = [*(("cases", number) for number in range(3)), *(("extra_cases", number) for number in range(2))]


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_selection_gives_the_published_indices_and_scores(
    reference_file: Callable[[str], Path], kind: str, number: int
) -> None:
    record = json.loads(reference_file("selection.json").read_text())
    assert len(record["cases"]) + len(record["extra_cases"]) == len(CASES)
    case = record[kind][number]
    entropy = torch.cat([normalized_entropy(torch.tensor(logits)) for logits in case["logits"]])
    torch.testing.assert_close(entropy, torch.tensor(case["normalised_entropy"]), rtol=0, atol=1e-6)
    task_ids, tasks = torch.tensor(case["task_id"]), case["tasks"]
    copy_from = {tasks.index("sts-b"): tasks.index("mrpc")} if "sts-b" in tasks else None
    chosen, scores = select_most_uncertain(entropy, task_ids, case["train_batch_size"], copy_from=copy_from)
    torch.testing.assert_close(scores, torch.tensor(case["U"]), rtol=0, atol=1e-6)
    torch.testing.assert_close(scores[chosen], torch.tensor(case["selected_U"]), rtol=0, atol=1e-6)
    if case["min_gap_between_sorted_U"] > 0:
        assert chosen.tolist() == case["selected"]
    else:  # a copied score ties with its source, and torch.topk decides their order
        assert sorted(chosen.tolist()) == sorted(case["selected"])


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
