"""A task's official metrics from its predictions, the average over tasks, and the metrics of a constant answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import suggest
from pipeline.tasks.base import Task
from pipeline.tasks.decoding import Prediction, Reference
from pipeline.tasks.metrics.classification import LABEL_METRICS, Numbers
from pipeline.tasks.metrics.question_answering import QA_METRICS
from pipeline.tasks.metrics.tagging import TAGGING_METRICS

SplitPredictions = tuple[Sequence[Prediction], Sequence[Reference]]
Metric = Callable[[Sequence[Any], Sequence[Reference]], float]


def _on_references(metric: Callable[[Numbers, Numbers], float]) -> Metric:
    return lambda predictions, references: metric(
        np.asarray(predictions), np.asarray([reference["label"] for reference in references])
    )


# Every metric, on the 0–100 scale, of one prediction and one reference per row.
METRICS: dict[str, Metric] = {
    **{name: _on_references(metric) for name, metric in LABEL_METRICS.items()},
    **QA_METRICS,
    **TAGGING_METRICS,
}


def check_metrics(task: Task) -> None:
    """Raises ValueError if one of the task's metrics is unknown."""
    for metric in task.metrics:
        if metric not in METRICS:
            raise ValueError(f"task {task.name!r}: unknown metric {metric!r}{suggest(metric, METRICS)}")


def task_metrics(task: Task, results: Mapping[str, SplitPredictions]) -> dict[str, float]:
    """Returns the task's official metrics, {prefix of the split + metric: value on 0–100}, in the task's order.

    Args:
        task: Determines the metrics and the splits' prefixes.
        results: {evaluation split: (predictions, references)}, one of each per row. Rows without a label
            (class -1) are ignored.

    Raises:
        ValueError: The results lack all of the task's evaluation splits, or a split has no row with a label.
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
        labelled = [
            row for row, known in enumerate(references) if not task.head.has_classes or known["label"] >= 0
        ]
        if not labelled:
            raise ValueError(f"task {task.name!r}, {split}: no row has a label to measure against")
        answers = ([predictions[row] for row in labelled], [references[row] for row in labelled])
        measured |= {prefix + metric: METRICS[metric](*answers) for metric in task.metrics}
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
    """Returns the metrics of a constant answer.

    The answer is the most frequent training label, or the training mean of a regression; no entity; "" to a question;
    the first of textual choices.

    Args:
        task: Determines the metrics.
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
        task, {split: (list(map(answer, references)), references) for split, references in evals.items()}
    )
