"""Official metrics on the 0–100 scale, their average over tasks, and what a constant answer reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.tasks.base import Task

Array = NDArray[np.generic]


def accuracy(predictions: Array, labels: Array) -> float:
    """Share of equal entries."""
    return 100.0 * float(np.mean(predictions == labels))


def f1(predictions: Array, labels: Array) -> float:
    """F1 of class 1; 0 where no row has or gets that class."""
    from sklearn.metrics import f1_score

    return 100.0 * float(f1_score(labels, predictions, average="binary", zero_division=0))


def f1_macro(predictions: Array, labels: Array) -> float:
    """Mean of the classes' F1, each counting the same: CommitmentBank's, beside its accuracy (Wang et al. 2019).

    The classes are those that a row has or gets, as in the benchmark's own measure.
    """
    from sklearn.metrics import f1_score

    return 100.0 * float(f1_score(labels, predictions, average="macro", zero_division=0))


def mcc(predictions: Array, labels: Array) -> float:
    """Matthews' correlation; 0 for constant predictions or labels."""
    from sklearn.metrics import matthews_corrcoef

    return 100.0 * float(matthews_corrcoef(labels, predictions)) if _vary(predictions, labels) else 0.0


def pearson(predictions: Array, labels: Array) -> float:
    """Pearson's correlation; 0 where it is not defined."""
    from scipy.stats import pearsonr

    return 100.0 * float(pearsonr(predictions, labels)[0]) if _vary(predictions, labels) else 0.0


def spearman(predictions: Array, labels: Array) -> float:
    """Spearman's rank correlation; 0 where it is not defined."""
    from scipy.stats import spearmanr

    return 100.0 * float(spearmanr(predictions, labels)[0]) if _vary(predictions, labels) else 0.0


def _vary(*series: Array) -> bool:
    """Whether a correlation is defined: finite values that are not all the same."""
    return all(bool(np.isfinite(values).all()) and len(np.unique(values)) > 1 for values in series)


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "f1_macro": f1_macro,
    "mcc": mcc,
    "pearson": pearson,
    "spearman": spearman,
}


def task_metrics(task: Task, results: Mapping[str, tuple[Array, Array]]) -> dict[str, float]:
    """The task's official metrics.

    Args:
        task: Says which metrics, and the prefix of each split's.
        results: {evaluation split: (logits [N, C], labels [N])}; C is 1 for a regression.

    Returns:
        {prefix + metric: value on 0–100}, splits in the task's order.

    Raises:
        ValueError: None of the task's evaluation splits is among the results, or one has no rows.
    """
    classes = task.head.kind == "classification"
    predictions = {
        split: (np.argmax(logits, axis=-1) if classes else np.reshape(logits, -1), labels)
        for split, (logits, labels) in results.items()
    }
    return _measure(task, predictions)


def average(metrics: Mapping[str, Mapping[str, float]]) -> float:
    """Mean over the tasks of the mean of each task's metrics."""
    return float(np.mean([np.mean(list(values.values())) for values in metrics.values()]))


def majority_metrics(task: Task, train_labels: Array, eval_labels: Mapping[str, Array]) -> dict[str, float]:
    """The metrics of the best constant answer: the most frequent training label, or the training mean.

    Args:
        task: Says which metrics.
        train_labels: [N] labels of the training split.
        eval_labels: {evaluation split: labels [N]}.
    """
    if task.head.kind == "classification":
        values, counts = np.unique(np.asarray(train_labels), return_counts=True)
        constant = float(values[np.argmax(counts)])
    else:
        constant = float(np.mean(np.asarray(train_labels, dtype=np.float64)))
    return _measure(
        task, {split: (np.full(len(labels), constant), labels) for split, labels in eval_labels.items()}
    )


def _measure(task: Task, results: Mapping[str, tuple[Array, Array]]) -> dict[str, float]:
    dtype = np.int64 if task.head.kind == "classification" else np.float64
    measured: dict[str, float] = {}
    for split, prefix in task.eval_splits:
        if split not in results:
            continue
        predictions, labels = (np.asarray(values).astype(dtype) for values in results[split])
        if not len(labels) or len(predictions) != len(labels):
            raise ValueError(
                f"task {task.name!r}, {split}: {len(predictions)} predictions for {len(labels)} labels"
            )
        for metric in task.metrics:
            measured[prefix + metric] = METRICS[metric](predictions, labels)
    if not measured:
        splits = ", ".join(split for split, _ in task.eval_splits)
        raise ValueError(f"task {task.name!r}: no predictions for any of its splits ({splits})")
    return measured
