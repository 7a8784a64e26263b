"""Official metrics of numbers, worked by hand, and what surrounds all metrics: splits, averages, constant answers."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tasks.metrics.classification import LABEL_METRICS
from pipeline.tasks.metrics.scores import SplitPredictions, average, majority_metrics, task_metrics
from pipeline.tasks.registry import KNOWN_TASKS


def answers(predictions: Sequence[int] | Sequence[float], labels: Sequence[float]) -> SplitPredictions:
    return list(predictions), [{"label": float(label)} for label in labels]


def measured(name: str, **splits: SplitPredictions) -> dict[str, float]:
    return task_metrics(KNOWN_TASKS[name], splits)


@pytest.mark.parametrize(
    ("task", "predictions", "labels", "scores"),
    [
        # 2 true positives, 1 false positive, 1 false negative, 1 true negative
        ("mrpc", [1, 1, 0, 1, 0], [1, 1, 1, 0, 0], {"f1": 100 * 2 / 3, "accuracy": 60.0}),
        ("cola", [1, 1, 0, 1, 0], [1, 1, 1, 0, 0], {"mcc": 100 * (2 * 1 - 1 * 1) / (3 * 3 * 2 * 2) ** 0.5}),
        # deviations from the means: -3, -2, -1, 6 and -1.5, -0.5, 0.5, 1.5
        ("stsb", [0.0, 1.0, 2.0, 9.0], [0.0, 1.0, 2.0, 3.0], {"pearson": 1400 / 250**0.5, "spearman": 100.0}),
        ("rte", [0, 1, 1], [0, -1, 1], {"accuracy": 100.0}),  # a row without a label is not measured
    ],
)
def test_metrics_by_hand(
    task: str, predictions: list[float], labels: list[float], scores: dict[str, float]
) -> None:
    assert measured(task, validation=answers(predictions, labels)) == pytest.approx(scores)


@pytest.mark.parametrize(
    ("predictions", "labels", "by_class"),
    [
        # 3 of the 4 rows of class 0 are correct among 4 predictions, 1 of 2 of class 1 among 3, none of class 2
        ([0, 0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 1, 1, 2], [2 * 3 / (4 + 4), 2 * 1 / (3 + 2), 0.0]),
        ([0, 0], [0, 0], [1.0]),  # class 1 does not occur
        ([0, 2], [0, 0], [2 / 3, 0.0]),
    ],
)
def test_macro_f1_is_the_mean_over_the_classes_that_occur(
    predictions: list[int], labels: list[int], by_class: list[float]
) -> None:
    value = LABEL_METRICS["f1_macro"](np.array(predictions), np.array(labels))
    assert value == pytest.approx(100 * np.mean(by_class))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("metric", "predictions", "labels"),
    [
        *((metric, [0.0] * 4, [0.0, 1.0, 1.0, 0.0]) for metric in ("pearson", "spearman", "mcc", "f1")),
        ("pearson", [0.0, np.nan, 1.0], [0.0, 1.0, 2.0]),
        ("spearman", [np.inf, 0.0], [0.0, 1.0]),
        ("pearson", [1.0], [1.0]),
    ],
)
def test_an_undefined_value_is_zero(metric: str, predictions: list[float], labels: list[float]) -> None:
    assert LABEL_METRICS[metric](np.array(predictions), np.array(labels)) == 0.0


def test_mnli_is_measured_on_the_splits_that_are_present() -> None:
    right, wrong = answers([0, 1, 2], [0, 1, 2]), answers([1, 2, 0], [0, 1, 2])
    assert measured("mnli", validation_matched=right) == {"matched_accuracy": 100.0}
    both = measured("mnli", validation_mismatched=wrong, validation_matched=right)
    assert both == {"matched_accuracy": 100.0, "mismatched_accuracy": 0.0}


@pytest.mark.parametrize(
    ("split", "predictions", "labels", "message"),
    [
        ("test", [0], [0], "no predictions for any of its splits"),
        ("validation", [0, 1], [0], "2 predictions for 1 rows"),
        ("validation", [], [], "no row has a label to measure against"),
        ("validation", [1], [-1], "no row has a label to measure against"),
    ],
)
def test_results_without_rows_or_splits_are_refused(
    split: str, predictions: list[int], labels: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measured("rte", **{split: answers(predictions, labels)})


def test_the_average_is_over_tasks_and_not_over_metrics() -> None:
    assert average({"a": {"f1": 80.0, "accuracy": 60.0}, "b": {"mcc": 10.0}}) == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("task", "train", "references", "scores"),
    [
        ("mrpc", [1, 1, 1, 0], answers([], [0, 0, 0, 1])[1], [40.0, 25.0]),
        ("stsb", [1.0, 4.0], answers([], [0.0, 5.0])[1], [0.0, 0.0]),
        ("wnut17", [], [{"tokens": ["in", "Rome"], "tags": ["O", "B-location"]}], [0.0, 0.0]),
        ("squad", [], [{"answers": ["Rome"]}, {"answers": []}], [50.0, 50.0]),
        (
            "record",
            [],
            [{"choices": ["Rome"], "answers": ["Rome"]}, {"choices": [], "answers": ["x"]}],
            [50.0, 50.0],
        ),
    ],
)
def test_a_constant_answer_is_measured(
    task: str, train: list[float], references: list[dict[str, object]], scores: list[float]
) -> None:
    measured = majority_metrics(KNOWN_TASKS[task], np.array(train), {"validation": references})
    assert list(measured.values()) == pytest.approx(scores)


@settings(max_examples=50, deadline=None)  # the first call imports scikit-learn
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30), st.randoms())
def test_no_metric_depends_on_the_order_of_the_rows(rows: list[tuple[int, int]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for metric in LABEL_METRICS.values():
        value = metric(*np.array(rows, dtype=float).T)
        assert -100.0 - 1e-9 <= value <= 100.0 + 1e-9
        assert metric(*np.array(shuffled, dtype=float).T) == pytest.approx(value, abs=1e-9)
