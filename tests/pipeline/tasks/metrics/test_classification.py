"""Official metrics, checked by hand on a few rows."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tasks.metrics.classification import METRICS
from pipeline.tasks.metrics.scores import Answers, average, majority_metrics, task_metrics
from pipeline.tasks.registry import get_task

LABELS = [1, 1, 1, 0, 0]


def answers(given: Sequence[int] | Sequence[float], labels: Sequence[float]) -> Answers:
    return list(given), [{"label": float(label)} for label in labels]


def test_classification_metrics_by_hand() -> None:
    # 2 true positives, 1 false positive, 1 false negative, 1 true negative
    measured = task_metrics(get_task("mrpc"), {"validation": answers([1, 1, 0, 1, 0], LABELS)})
    assert list(measured) == ["f1", "accuracy"]
    assert measured["accuracy"] == pytest.approx(60.0)
    assert measured["f1"] == pytest.approx(100 * 2 / 3)
    mcc = task_metrics(get_task("cola"), {"validation": answers([1, 1, 0, 1, 0], LABELS)})["mcc"]
    assert mcc == pytest.approx(100 * (2 * 1 - 1 * 1) / (3 * 3 * 2 * 2) ** 0.5)


def test_macro_f1_counts_a_rare_class_as_much_as_a_frequent_one() -> None:
    # 3 of the 4 rows of class 0 are found by 4 guesses, 1 of 2 of class 1 by 3, the row of class 2 by none
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    predictions = np.array([0, 0, 0, 1, 1, 0, 1])
    by_class = [2 * 3 / (4 + 4), 2 * 1 / (3 + 2), 0.0]
    assert METRICS["f1_macro"](predictions, labels) == pytest.approx(100 * np.mean(by_class))
    assert METRICS["f1_macro"](labels, labels) == 100.0


def test_macro_f1_is_over_the_classes_that_occur() -> None:
    assert METRICS["f1_macro"](np.array([0, 0]), np.array([0, 0])) == 100.0
    assert METRICS["f1_macro"](np.array([0, 2]), np.array([0, 0])) == pytest.approx(100 * (2 / 3 + 0) / 2)


def test_correlations_by_hand() -> None:
    predictions, labels = [0.0, 1.0, 2.0, 9.0], [0.0, 1.0, 2.0, 3.0]
    measured = task_metrics(get_task("stsb"), {"validation": answers(predictions, labels)})
    assert measured["spearman"] == pytest.approx(100.0)
    assert measured["pearson"] == pytest.approx(100 * np.corrcoef(predictions, labels)[0, 1], abs=1e-3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", ["pearson", "spearman", "mcc", "f1"])
def test_a_constant_answer_correlates_with_nothing(metric: str) -> None:
    assert METRICS[metric](np.zeros(4), np.array([0.0, 1.0, 1.0, 0.0])) == 0.0


def test_an_undefined_correlation_counts_as_zero() -> None:
    assert METRICS["pearson"](np.array([0.0, np.nan, 1.0]), np.array([0.0, 1.0, 2.0])) == 0.0
    assert METRICS["spearman"](np.array([np.inf, 0.0]), np.array([0.0, 1.0])) == 0.0
    assert METRICS["pearson"](np.array([1.0]), np.array([1.0])) == 0.0


def test_mnli_is_measured_on_the_splits_that_are_there() -> None:
    right = answers([0, 1, 2], [0, 1, 2])
    wrong = answers([1, 2, 0], [0, 1, 2])
    mnli = get_task("mnli")
    assert task_metrics(mnli, {"validation_matched": right}) == {"matched_accuracy": 100.0}
    both = task_metrics(mnli, {"validation_mismatched": wrong, "validation_matched": right})
    assert both == {"matched_accuracy": 100.0, "mismatched_accuracy": 0.0}


def test_results_without_rows_or_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="no predictions for any of its splits"):
        task_metrics(get_task("rte"), {"test": answers([0], [0])})
    with pytest.raises(ValueError, match="2 predictions for 1 rows"):
        task_metrics(get_task("rte"), {"validation": ([0, 1], [{"label": 0.0}])})
    with pytest.raises(ValueError, match="no row has a label to measure against"):
        task_metrics(get_task("rte"), {"validation": ([], [])})


def test_the_average_is_over_tasks_and_not_over_metrics() -> None:
    assert average({"a": {"f1": 80.0, "accuracy": 60.0}, "b": {"mcc": 10.0}}) == pytest.approx(40.0)


def test_the_majority_answer_comes_from_the_training_labels() -> None:
    train = np.array([1, 1, 1, 0], dtype=np.float32)
    measured = majority_metrics(get_task("mrpc"), train, {"validation": answers([], [0, 0, 0, 1])[1]})
    assert measured == {"f1": pytest.approx(40.0), "accuracy": pytest.approx(25.0)}
    regression = majority_metrics(
        get_task("stsb"), np.array([1.0, 4.0]), {"validation": answers([], [0.0, 5.0])[1]}
    )
    assert regression == {"pearson": 0.0, "spearman": 0.0}


@settings(deadline=None)  # the first call imports scikit-learn
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30), st.randoms())
def test_no_metric_depends_on_the_order_of_the_rows(rows: list[tuple[int, int]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for metric in METRICS.values():
        value = metric(*np.array(rows, dtype=float).T)
        assert -100.0 - 1e-9 <= value <= 100.0 + 1e-9
        assert metric(*np.array(shuffled, dtype=float).T) == pytest.approx(value, abs=1e-9)


def test_rows_without_a_label_are_predicted_and_not_measured() -> None:
    measured = task_metrics(get_task("rte"), {"validation": answers([0, 1, 1], [0, -1, 1])})
    assert measured == {"accuracy": 100.0}
