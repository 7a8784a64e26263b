"""Evaluation: every row predicted once, on any number of ranks, and measured."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.training.evaluation import EvalSet, majority, merge_shares, predict_all, predict_share
from tests.pipeline.training.short_run import PLAIN
from tests.toy import NAMES, TASKS, make_model, make_table, padded

TABLES = {
    "three": {"first": make_table(0, 9), "second": make_table(0, 1, seed=4)},
    "score": {"dev": make_table(2, 150)},  # more than one batch
}
SETS = EvalSet.of_tables(NAMES, TABLES)


def test_every_row_is_predicted_once_in_the_order_of_its_split() -> None:
    model = make_model("base")
    predictions: Any = predict_all(model, SETS, PLAIN)
    assert not model.training
    splits = {task: list(by_split) for task, by_split in predictions.items()}
    assert splits == {"three": ["first", "second"], "score": ["dev"]}
    for part in SETS:
        answers, references = predictions[NAMES[part.task]][part.split]
        with torch.no_grad():
            logits = model(**padded(part.rows)).logits[NAMES[part.task]]
        expected = logits.flatten() if part.task == 2 else logits.argmax(-1)
        assert answers == pytest.approx(expected.tolist(), abs=1e-5)
        labels = [reference["label"] for reference in references]
        assert labels == TABLES[NAMES[part.task]][part.split]["label"].to_pylist()


@pytest.mark.parametrize("world_size", [2, 8])
def test_the_shares_of_any_number_of_ranks_complete_each_other(world_size: int) -> None:
    model = make_model("base").eval()
    shares = [predict_share(model, SETS, PLAIN, rank, world_size) for rank in range(world_size)]
    assert sum(len(share) for share in shares) == 160
    merged, alone = merge_shares(NAMES, SETS, shares), predict_all(model, SETS, PLAIN)
    for task, splits in (alone or {}).items():
        for split, (answers, references) in splits.items():
            assert merged[task][split][0] == pytest.approx(answers, abs=1e-5)
            assert merged[task][split][1] == references
    for incomplete in (shares[1:], [*shares, shares[0]]):
        with pytest.raises(RuntimeError, match="'first' of 'three': a row was predicted twice or not at all"):
            merge_shares(NAMES, SETS, incomplete)


def test_the_majority_answer_is_measured_on_the_evaluation_rows() -> None:
    train = [make_table(task, 50) for task in range(3)]
    evals = {name: {"validation": make_table(task, 20, seed=1)} for task, name in enumerate(NAMES)}
    scores = majority(TASKS, train, evals)
    most_frequent = np.bincount(train[0]["label"].to_numpy().astype(int)).argmax()
    correct = (evals["three"]["validation"]["label"].to_numpy() == most_frequent).mean()
    assert scores["three"]["accuracy"] == pytest.approx(100 * correct)
    assert scores["score"]["pearson"] == 0.0
