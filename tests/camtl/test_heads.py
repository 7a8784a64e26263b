"""Heads of every kind: predictions in the labels' units, losses and uncertainties per row."""

from dataclasses import replace
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
from tests.toy import VOCABULARY, gradients, make_model, padded

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


def make_task_rows(number: int) -> TaskRows:
    """Rows of one encoding each, the only ones of a batch."""
    ones = np.ones(number, dtype=np.int64)
    rows = TokenRows(ones, ones, np.arange(number + 1), ones * 0, np.zeros(number, np.float32), ones)
    return PackedBatch.pack(rows).rows_by_task[0]


def mean_loss(head: Head, logits: Tensor, labels: Tensor) -> Tensor:
    return head.row_losses(logits, labels, make_task_rows(len(logits))).mean()


def test_a_label_range_puts_predictions_in_its_units_and_the_loss_on_zero_to_one() -> None:
    torch.manual_seed(0)
    plain, ranged, task_rows = make_head(PLAIN), make_head(RANGED), make_task_rows(6)
    ranged.load_state_dict(plain.state_dict())
    pooled, labels = torch.randn(6, 8), torch.tensor([1.0, 5.0, 3.0, 2.5, 4.75, 1.0])
    values, in_range = plain(pooled, pooled, task_rows), ranged(pooled, pooled, task_rows)
    torch.testing.assert_close(in_range, 1 + 4 * values)
    expected = F.mse_loss((in_range[:, 0] - 1) / 4, (labels - 1) / 4)
    torch.testing.assert_close(mean_loss(ranged, in_range, labels), expected)
    torch.testing.assert_close(mean_loss(plain, values, labels), F.mse_loss(values[:, 0], labels))


def test_logits_are_float32_under_half_precision() -> None:
    pooled = torch.randn(2, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert make_head(RANGED)(pooled, pooled, make_task_rows(2)).dtype == torch.float32


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
    results: list[Any] = [None] * len(rows)
    for task, task_rows in batch.rows_by_task.items():
        name, head = NAMES[task], model.head(task)
        logits = output.logits[name].detach()
        losses, uncertainties = output.row_losses[name], head.row_uncertainty(logits, task_rows)
        outputs = head.unbatch(logits, task_rows)
        for row, *values in zip(
            task_rows.rows.tolist(), losses.tolist(), uncertainties.tolist(), outputs, strict=True
        ):
            results[row] = tuple(values)
    return results


def test_every_kind_has_a_head() -> None:
    assert set(HEADS) == set(KINDS) == set(SPECS)


@pytest.mark.parametrize("variant", ["base", "large", "none"])
def test_a_row_of_any_kind_gives_the_same_alone_and_among_others(variant: str) -> None:
    model, rows = mixed_model(variant), mixed_rows()
    together = by_row(model, rows, 64)
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = by_row(model, rows.take(order), 16)
    for index, row in enumerate(order):
        alone = by_row(model, rows.take(np.asarray([row])), 8)[0]
        for loss, uncertainty, outputs in (alone, shuffled[index]):
            assert loss == pytest.approx(together[row][0], rel=1e-4, abs=1e-5)
            assert uncertainty == pytest.approx(together[row][1], abs=1e-5)
            for output, expected in zip(outputs, together[row][2], strict=True):
                assert_near(torch.tensor(output), torch.tensor(expected))
    shapes = [[array.shape for array in outputs] for _, _, outputs in together]
    assert shapes == [
        [(3, 4)], [(3,)], [(5, 2), (6, 2)], [(3,)], [(2,)], [(1,)], [(4, 2)], [(2,)], [(1, 4)], [(2,)]
    ]  # fmt: skip


def test_the_loss_of_every_kind_reaches_its_head_and_the_encoder() -> None:
    model, rows = mixed_model(), mixed_rows()
    batch = PackedBatch.pack(rows)
    for name in NAMES:
        model.zero_grad()
        loss = model(packed=batch, labels={name: rows.labels_by_task(NAMES)[name]}).loss
        loss.backward()
        reached = gradients(model)
        assert float(reached[f"heads.{name}.linear.weight"].abs().max()) > 0
        assert float(reached["encoder.embeddings.word_embeddings.weight"].abs().max()) > 0
        assert not any(key.startswith("heads.") and f".{name}." not in key for key in reached)


def entropy(scores: Tensor) -> float:
    probabilities = torch.softmax(scores, -1)
    return float(-(probabilities * probabilities.log()).sum() / (np.log(len(scores)) + EPSILON))


def cross_entropy(scores: Tensor, label: int) -> float:
    return float(F.cross_entropy(scores, torch.tensor(label)))


def test_losses_and_uncertainties_follow_from_the_outputs() -> None:
    """Computed from each row's own outputs: one distribution per tag, choice, window side or class."""
    rows = mixed_rows()
    results = by_row(mixed_model(), rows, 64)
    outputs = [[torch.tensor(array) for array in result[2]] for result in results]
    windows = [scores for window in outputs[2] for scores in window.T]
    distributions = {
        0: (list(outputs[0][0]), (1, 3, 0)),
        1: (outputs[1], (2,)),
        2: (windows, (0, 0, 2, 3)),  # no answer in the first window, positions 2 to 3 in the second
        3: (outputs[3], (int(rows.labels[3]),)),
        4: (outputs[4], (int(rows.labels[4]),)),
    }
    for row, (scores, labels) in distributions.items():
        losses = [cross_entropy(*pair) for pair in zip(scores, labels, strict=True)]
        assert results[row][0] == pytest.approx(np.mean(losses), rel=1e-4)
        assert results[row][1] == pytest.approx(np.mean([entropy(values) for values in scores]), abs=1e-5)
    assert results[5][0] == pytest.approx((float(outputs[5][0]) - 0.5) ** 2, rel=1e-4)
    assert results[5][1] == 0


def test_marked_words_are_read_where_their_marks_are() -> None:
    model, row = mixed_model("none"), mixed_rows().take(np.asarray([4]))
    shifted = replace(row, token_marks=np.roll(row.token_marks, 1))
    before, after = (by_row(model, rows, 16)[0][2][0] for rows in (row, shifted))
    assert not np.allclose(before, after, atol=1e-4)


def test_a_padded_batch_takes_marks() -> None:
    model, rows = mixed_model(), mixed_rows().take(np.asarray([0, 8]))
    logits = model(**padded(rows)).logits["tagging"]
    assert logits.shape == (4, 4)
    assert_near(logits, model(packed=PackedBatch.pack(rows)).logits["tagging"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "ranking"}, "head kind 'ranking' is not known: use one of classification, regression"),
        ({"kind": "regression", "num_labels": 2}, "1 output, not num_labels=2"),
        ({"num_labels": 1}, "at least 2 labels, not num_labels=1"),
        ({"kind": "choice"}, "a choice head has 1 output, not num_labels=2"),
        ({"kind": "span", "num_labels": 3}, "a span head has 2 outputs, not num_labels=3"),
        ({"num_labels": 3, "label_range": (0, 5)}, "needs a regression"),
        ({"kind": "regression", "num_labels": 1, "label_range": (5, 5)}, "lowest < highest"),
        ({"null_threshold": 0.5}, "null_threshold=0.5 needs a span"),
        ({"num_labels": 3, "label_names": ("yes", "no")}, "2 label_names for num_labels=3"),
    ],
)
def test_an_invalid_head_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HeadSpec(**fields)
