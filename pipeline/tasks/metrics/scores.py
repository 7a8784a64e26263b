"""A task's official metrics from its predictions, their average over tasks, and what a constant answer reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.tasks.base import Task
from pipeline.tasks.decoding import Prediction
from pipeline.tasks.metrics.classification import METRICS as OF_LABELS
from pipeline.tasks.metrics.question_answering import QA_METRICS
from pipeline.tasks.metrics.tagging import TAGGING_METRICS

Reference = Mapping[str, Any]  # `label` of the row, and what else its prepared reference tells
Answers = tuple[Sequence[Prediction], Sequence[Reference]]


def _of_references(
    metric: Callable[[NDArray[np.generic], NDArray[np.generic]], float],
) -> Callable[[Sequence[Any], Sequence[Reference]], float]:
    def measure(predictions: Sequence[Any], references: Sequence[Reference]) -> float:
        return metric(np.asarray(predictions), np.asarray([reference["label"] for reference in references]))

    return measure


# Every metric on the 0–100 scale, from a prediction and a reference per row.
METRICS: dict[str, Callable[[Sequence[Any], Sequence[Reference]], float]] = {
    **{name: _of_references(metric) for name, metric in OF_LABELS.items()},
    **QA_METRICS,
    **TAGGING_METRICS,
}


def task_metrics(task: Task, results: Mapping[str, Answers]) -> dict[str, float]:
    """The task's official metrics.

    Args:
        task: Says which metrics, and the prefix of each split's.
        results: {evaluation split: (predictions, references)}, one of each per row. Rows without a label
            (class -1) are left out.

    Returns:
        {prefix + metric: value on 0–100}, splits in the task's order.

    Raises:
        ValueError: None of the task's evaluation splits is among the results, or one has no labelled rows.
    """
    measured: dict[str, float] = {}
    for split, prefix in task.eval_splits:
        if split not in results:
            continue
        predictions, references = results[split]
        if len(predictions) != len(references):
            raise ValueError(
                f"task {task.name!r}, {split}: {len(predictions)} predictions for {len(references)} rows"
            )
        labelled = [row for row, known in enumerate(references) if not _unlabelled(task, known)]
        if not labelled:
            raise ValueError(f"task {task.name!r}, {split}: no row has a label to measure against")
        answers = ([predictions[row] for row in labelled], [references[row] for row in labelled])
        for metric in task.metrics:
            measured[prefix + metric] = METRICS[metric](*answers)
    if not measured:
        splits = ", ".join(split for split, _ in task.eval_splits)
        raise ValueError(f"task {task.name!r}: no predictions for any of its splits ({splits})")
    return measured


def average(metrics: Mapping[str, Mapping[str, float]]) -> float:
    """Mean over the tasks of the mean of each task's metrics."""
    return float(np.mean([np.mean(list(values.values())) for values in metrics.values()]))


def majority_metrics(
    task: Task, train_labels: NDArray[np.generic], evals: Mapping[str, Sequence[Reference]]
) -> dict[str, float]:
    """The metrics of the best constant answer.

    That is the most frequent training label, or the training mean; no entity anywhere; no answer to any
    question; of choices in words the first.

    Args:
        task: Says which metrics.
        train_labels: [N] labels of the training split.
        evals: {evaluation split: references}.
    """
    labels = np.asarray(train_labels)
    if task.head.kind == "regression":
        constant = float(np.mean(labels.astype(np.float64)))
    else:
        values, counts = np.unique(labels[labels >= 0], return_counts=True)
        constant = int(values[np.argmax(counts)]) if len(values) else 0

    def answer(reference: Reference) -> Prediction:
        if task.head.kind == "tagging":
            return ["O"] * len(reference["tokens"])
        if task.head.kind == "span":
            return ""
        if task.head.kind == "choice" and "choices" in reference:
            return str([*reference["choices"], ""][0])
        return constant

    return task_metrics(
        task,
        {split: ([answer(known) for known in references], references) for split, references in evals.items()},
    )


def _unlabelled(task: Task, reference: Reference) -> bool:
    return task.head.kind in ("classification", "marked") and reference["label"] < 0
