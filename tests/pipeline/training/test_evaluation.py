"""Evaluation: every row scored once, on however many ranks, and measured."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.training.evaluation import (
    EvalSet,
    Predictions,
    majority,
    measure,
    merge_shares,
    predict_all,
    predict_share,
)
from pipeline.training.scoring import Precision
from tests.toy import NAMES, TASKS, make_model, make_rows, make_table, padded

PLAIN = Precision(torch.device("cpu"), bfloat16=False)
TABLES = {
    "three": {"first": make_table(0, 9), "second": make_table(0, 1, seed=4)},
    "score": {"dev": make_table(2, 150)},
}
SETS = EvalSet.of_tables(NAMES, TABLES)


def test_every_row_is_scored_once_in_the_order_of_its_split() -> None:
    model = make_model("base")
    predictions = predict_all(model, SETS, PLAIN)
    assert predictions is not None
    assert not model.training
    assert {task: set(splits) for task, splits in predictions.items()} == {
        task: set(splits) for task, splits in TABLES.items()
    }
    for part in SETS:
        given, known = predictions[NAMES[part.task]][part.split]
        with torch.no_grad():
            logits = model(**padded(part.rows)).logits[NAMES[part.task]]
        expected = logits.flatten() if part.task == 2 else logits.argmax(-1)
        assert given == pytest.approx(expected.tolist(), abs=1e-5)
        labels = [reference["label"] for reference in known]
        assert labels == TABLES[NAMES[part.task]][part.split]["label"].to_pylist()


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_shares_of_any_number_of_ranks_make_the_whole(world_size: int) -> None:
    model = make_model("base").eval()
    shares = [predict_share(model, SETS, PLAIN, rank, world_size) for rank in range(world_size)]
    assert sum(len(rows) for share in shares for rows in share.values()) == 160
    merged, whole = merge_shares(NAMES, SETS, shares), predict_all(model, SETS, PLAIN)
    assert whole is not None
    for task, splits in whole.items():
        for split, (given, known) in splits.items():
            assert merged[task][split][0] == pytest.approx(given, abs=1e-5)
            assert merged[task][split][1] == known


@pytest.mark.parametrize("changed", ["lost", "doubled"])
def test_a_row_that_is_missing_or_scored_twice_is_an_error(changed: str) -> None:
    model = make_model("none").eval()
    shares = [predict_share(model, SETS, PLAIN, rank, 2) for rank in range(2)]
    with pytest.raises(RuntimeError, match="split 'first' of 'three': a row was scored twice or not at all"):
        merge_shares(NAMES, SETS, shares[:1] if changed == "lost" else [*shares, shares[0]])


def test_two_processes_score_every_row_once(two_ranks: list[dict[str, Any]]) -> None:
    metrics = [metrics for _, metrics in two_ranks[0]["plain"] if metrics is not None]
    assert [found["step"] for found in metrics] == [4, 8]
    assert all(set(found["scores"]["tasks"]) == set(NAMES) for found in metrics)


def test_scores_are_official_metrics_and_their_average() -> None:
    given: dict[str, Any] = {"three": [0, 1, 2, 2], "two": [0, 1], "score": [1.0, 2.0, 3.0]}
    labels = {"three": [0, 1, 2, 0], "two": [0, 1], "score": [1, 2, 3]}
    predictions: Predictions = {
        name: {"validation": (given[name], [{"label": float(label)} for label in labels[name]])}
        for name in NAMES
    }
    scores = measure(TASKS, predictions)
    assert scores["tasks"] == {
        "three": {"accuracy": 75.0},
        "two": {"accuracy": 100.0},
        "score": {"pearson": pytest.approx(100.0)},
    }
    assert scores["average"] == pytest.approx((75 + 100 + 100) / 3)


def test_the_majority_answer_is_measured_on_the_evaluation_rows() -> None:
    train = [make_table(task, 50) for task in range(3)]
    evals = {name: {"validation": make_table(task, 20, seed=1)} for task, name in enumerate(NAMES)}
    found = majority(TASKS, train, evals)
    often = np.bincount(train[0]["label"].to_numpy().astype(int)).argmax()
    right = (evals["three"]["validation"]["label"].to_numpy() == often).mean()
    assert found["three"]["accuracy"] == pytest.approx(100 * right)
    assert found["score"]["pearson"] == 0.0


def test_rows_longer_than_one_batch_are_all_there() -> None:
    rows = make_rows([4] * 300, [1] * 300)
    predictions = predict_all(
        make_model("none"), [EvalSet(1, "validation", rows, [{"label": 0.0}] * 300)], PLAIN
    )
    assert predictions is not None
    assert len(predictions["two"]["validation"][0]) == 300
