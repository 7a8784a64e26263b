"""Heads: predictions in the labels' own units, losses and uncertainties per row, whatever a row is made of."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from camtl import CaMtlModel, HeadSpec, PackedBatch, TokenRows
from camtl.heads import HEADS, KINDS, Head
from camtl.packing import TaskRows
from camtl.uncertainty import EPSILON
from tests.camtl.running import assert_near
from tests.toy import VOCABULARY, gradients, make_model

RANGED = HeadSpec(kind="regression", num_labels=1, label_range=(1, 5))
PLAIN = HeadSpec(kind="regression", num_labels=1)
SPECS = {
    "choice": HeadSpec(kind="choice", num_labels=1),
    "classification": HeadSpec(num_labels=3),
    "marked": HeadSpec(kind="marked"),
    "regression": HeadSpec(kind="regression", num_labels=1),
    "span": HeadSpec(kind="span"),
    "tagging": HeadSpec(kind="tagging", num_labels=4),
}
NAMES = list(SPECS)


def make_head(spec: HeadSpec, size: int = 8) -> Any:
    return HEADS[spec.kind](spec, size)


def some_rows(number: int) -> TaskRows:
    """Rows that are an encoding each, the first of the batch."""
    lengths = np.ones(number, dtype=np.int64)
    rows = TokenRows(
        lengths, lengths, np.arange(number + 1), lengths * 0, np.zeros(number, np.float32), lengths
    )
    return PackedBatch.pack(rows).rows_by_task[0]


def mean_loss(head: Head, logits: Tensor, labels: Tensor) -> Tensor:
    return head.row_losses(logits, labels, some_rows(len(logits))).mean()


def test_a_label_range_puts_predictions_in_its_units_and_the_loss_on_zero_to_one() -> None:
    torch.manual_seed(0)
    plain, ranged, where = make_head(PLAIN), make_head(RANGED), some_rows(6)
    ranged.load_state_dict(plain.state_dict())
    pooled, labels = torch.randn(6, 8), torch.tensor([1.0, 5.0, 3.0, 2.5, 4.75, 1.0])
    values, in_range = plain(pooled, pooled, where), ranged(pooled, pooled, where)
    torch.testing.assert_close(in_range, 1 + 4 * values)
    expected = F.mse_loss((in_range[:, 0] - 1) / 4, (labels - 1) / 4)
    torch.testing.assert_close(mean_loss(ranged, in_range, labels), expected)
    torch.testing.assert_close(mean_loss(plain, values, labels), F.mse_loss(values[:, 0], labels))


def test_a_prediction_off_by_the_whole_range_costs_one() -> None:
    loss = mean_loss(make_head(RANGED), torch.tensor([[5.0]]), torch.tensor([1.0]))
    assert loss.item() == pytest.approx(1.0)


def test_class_numbers_may_come_as_floats() -> None:
    logits = torch.randn(4, 3)
    expected = F.cross_entropy(logits, torch.tensor([0, 2, 1, 1]))
    found = mean_loss(make_head(HeadSpec(num_labels=3)), logits, torch.tensor([0.0, 2.0, 1.0, 1.0]))
    torch.testing.assert_close(found, expected)


def test_regression_keeps_the_fraction_of_its_labels() -> None:
    head = make_head(PLAIN)
    assert mean_loss(head, torch.tensor([[4.75]]), torch.tensor([4.75])).item() == 0.0
    assert mean_loss(head, torch.tensor([[4.0]]), torch.tensor([4.75])).item() == pytest.approx(0.75**2)


def test_logits_are_float32_under_half_precision() -> None:
    pooled = torch.randn(2, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert make_head(RANGED)(pooled, pooled, some_rows(2)).dtype == torch.float32


def mixed_rows() -> TokenRows:
    """Rows of every kind: choices of 3 and 2 encodings, spans of 2 windows and 1, marked words, tags."""
    random = np.random.default_rng(0)
    parts: list[tuple[str, float, list[list[int]]]] = [  # (task, label, marks of each encoding)
        ("tagging", 0, [[-100, 1, -100, 3, 0, -100]]),
        ("choice", 2, [[-100] * 4, [-100] * 7, [-100] * 5]),
        ("span", 0, [[3, -100, -100, 0, 0, 0, 0], [0, -100, -100, 0, 1, 2, 0, 0]]),
        ("classification", 1, [[-100] * 5]),
        ("marked", 1, [[0, 1, 1, 0, 0, 2, 0]]),
        ("regression", 0.5, [[-100] * 6]),
        ("span", 0, [[0, -100, 0, 3, 0]]),
        ("choice", 0, [[-100] * 3, [-100] * 6]),
        ("tagging", 0, [[-100, 2, -100]]),
        ("marked", 0, [[0, 1, 0, 0]]),
    ]
    marks = [encoding for _, _, encodings in parts for encoding in encodings]
    lengths = [len(encoding) for encoding in marks]
    return TokenRows(
        input_ids=random.integers(5, VOCABULARY, sum(lengths)),
        token_type_ids=random.integers(0, 2, sum(lengths)),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        task_ids=np.asarray([NAMES.index(task) for task, _, _ in parts]),
        labels=np.asarray([label for _, label, _ in parts], dtype=np.float32),
        row_ids=np.arange(len(parts)),
        encodings=np.asarray([len(encodings) for _, _, encodings in parts]),
        token_marks=np.concatenate(marks),
    )


def mixed_model(variant: str = "base") -> CaMtlModel:
    return make_model(variant, tasks=NAMES, heads=SPECS)


def by_row(model: CaMtlModel, rows: TokenRows, max_width: int) -> list[tuple[float, float, list[Any]]]:
    """(loss, uncertainty, outputs) of every row."""
    batch = PackedBatch.pack(rows, max_width=max_width)
    output = model(packed=batch, labels=rows.labels_by_task(NAMES))
    found: list[Any] = [None] * len(rows)
    for task, where in batch.rows_by_task.items():
        name, head = NAMES[task], model.head(task)
        logits = output.logits[name].detach()
        parts = (output.row_losses[name].tolist(), head.row_uncertainty(logits, where).tolist())
        for row, *values in zip(where.rows.tolist(), *parts, head.unbatch(logits, where), strict=True):
            found[row] = tuple(values)
    return found


def test_every_kind_has_a_head() -> None:
    assert set(HEADS) == set(KINDS) == set(SPECS)


@pytest.mark.parametrize("variant", ["base", "large", "none"])
def test_a_row_of_any_kind_is_the_same_alone_and_among_others(variant: str) -> None:
    model, rows = mixed_model(variant), mixed_rows()
    together = by_row(model, rows, 64)
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = by_row(model, rows.take(order), 16)
    for place, row in enumerate(order):
        alone = by_row(model, rows.take(np.asarray([row])), 8)[0]
        for loss, uncertainty, outputs in (alone, shuffled[place]):
            assert loss == pytest.approx(together[row][0], rel=1e-4, abs=1e-5)
            assert uncertainty == pytest.approx(together[row][1], abs=1e-5)
            for ours, expected in zip(outputs, together[row][2], strict=True):
                assert_near(torch.tensor(ours), torch.tensor(expected))
    shapes = [[array.shape for array in outputs] for _, _, outputs in together]
    assert shapes == [
        [(3, 4)], [(3,)], [(5, 2), (6, 2)], [(3,)], [(2,)], [(1,)], [(4, 2)], [(2,)], [(1, 4)], [(2,)]
    ]  # fmt: skip


def test_the_loss_of_every_kind_reaches_its_head_and_the_encoder() -> None:
    model, rows = mixed_model(), mixed_rows()
    batch = PackedBatch.pack(rows)
    for task, name in enumerate(NAMES):
        model.zero_grad()
        loss = model(packed=batch, labels={name: rows.labels_by_task(NAMES)[name]}).loss
        loss.backward()
        reached = gradients(model)
        assert float(reached[f"heads.{name}.linear.weight"].abs().max()) > 0
        assert float(reached["encoder.embeddings.word_embeddings.weight"].abs().max()) > 0
        assert not any(key.startswith("heads.") and f".{name}." not in key for key in reached), task


def entropy(scores: Tensor) -> float:
    probabilities = torch.softmax(scores, -1)
    return float(-(probabilities * probabilities.log()).sum() / (np.log(len(scores)) + EPSILON))


def test_losses_and_uncertainties_are_those_of_the_outputs() -> None:
    """Worked out from each row's own outputs, kind by kind."""
    rows = mixed_rows()
    found = by_row(mixed_model(), rows, 64)

    def outputs(row: int) -> list[Tensor]:
        return [torch.tensor(array) for array in found[row][2]]

    def costs(scores: Tensor, label: int) -> float:
        return float(F.cross_entropy(scores, torch.tensor(label)))

    [tags] = outputs(0)
    expected = [costs(scores, label) for scores, label in zip(tags, (1, 3, 0), strict=True)]
    assert found[0][0] == pytest.approx(np.mean(expected), rel=1e-4)
    assert found[0][1] == pytest.approx(np.mean([entropy(scores) for scores in tags]), abs=1e-5)
    [choices] = outputs(1)
    assert found[1][0] == pytest.approx(costs(choices, 2), rel=1e-4)
    assert found[1][1] == pytest.approx(entropy(choices), abs=1e-5)
    first, second = outputs(
        2
    )  # no answer in the first window; from its 2nd to its 3rd position in the second
    expected = [costs(first.T[0], 0), costs(first.T[1], 0), costs(second.T[0], 2), costs(second.T[1], 3)]
    assert found[2][0] == pytest.approx(np.mean(expected), rel=1e-4)
    entropies = [entropy(scores) for window in (first, second) for scores in window.T]
    assert found[2][1] == pytest.approx(np.mean(entropies), abs=1e-5)
    for row in (3, 4):
        [scores] = outputs(row)
        assert found[row][0] == pytest.approx(costs(scores, int(rows.labels[row])), rel=1e-4)
        assert found[row][1] == pytest.approx(entropy(scores), abs=1e-5)
    assert found[5][0] == pytest.approx((float(outputs(5)[0]) - 0.5) ** 2, rel=1e-4)
    assert found[5][1] == 0


def test_marked_words_are_read_where_their_marks_are() -> None:
    model, rows = mixed_model("none"), mixed_rows()
    [changed] = np.flatnonzero(rows.token_marks == 2)[:1]
    marked = rows.take(np.asarray([4]))
    moved = rows.token_marks.copy()
    where = np.flatnonzero(moved == 2)
    assert changed in where
    before = by_row(model, marked, 16)[0][2][0]
    other = TokenRows(**{**marked.__dict__, "token_marks": np.roll(marked.token_marks, 1)})
    assert not np.allclose(by_row(model, other, 16)[0][2][0], before, atol=1e-4)


def test_a_padded_batch_is_told_its_marks() -> None:
    model, rows = mixed_model(), mixed_rows().take(np.asarray([0, 8]))
    width = int(rows.lengths.max())
    padded = {"input_ids": 0, "token_marks": -100, "attention_mask": 0, "token_type_ids": 0}
    arrays = {name: np.full((2, width), fill) for name, fill in padded.items()}
    for row, (begin, end) in enumerate(zip(rows.offsets, rows.offsets[1:], strict=False)):
        for name in ("input_ids", "token_type_ids", "token_marks"):
            arrays[name][row, : end - begin] = getattr(rows, name)[begin:end]
        arrays["attention_mask"][row, : end - begin] = 1
    batch = {name: torch.from_numpy(values) for name, values in arrays.items()}
    found = model(**batch, task_ids=torch.from_numpy(rows.task_ids)).logits["tagging"]
    packed = model(packed=PackedBatch.pack(rows)).logits["tagging"]
    assert found.shape == (4, 4)
    assert_near(found, packed)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"kind": "ranking"}, "head kind 'ranking' is not known: use one of classification, regression"),
        ({"kind": "regression", "num_labels": 2}, "1 output, not num_labels=2"),
        ({"num_labels": 1}, "at least 2 labels, not num_labels=1"),
        ({"kind": "choice"}, "a choice head has 1 output, not num_labels=2"),
        ({"kind": "span", "num_labels": 3}, "a span head has 2 outputs, not num_labels=3"),
        ({"num_labels": 3, "label_range": (0, 5)}, "needs a regression"),
        ({"kind": "regression", "num_labels": 1, "label_range": (5, 5)}, "lowest < highest"),
        ({"num_labels": 3, "label_names": ("yes", "no")}, "2 label_names for num_labels=3"),
    ],
)
def test_a_head_that_makes_no_sense_is_named(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        HeadSpec(**fields)
