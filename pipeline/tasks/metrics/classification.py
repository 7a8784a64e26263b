"""Metrics of numbers (classes, values, choices) against labels, on the 0–100 scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.generic]


def accuracy(predictions: Numbers, labels: Numbers) -> float:
    return 100.0 * float(np.mean(predictions == labels))


def f1(predictions: Numbers, labels: Numbers) -> float:
    """F1 of class 1; 0 if that class is neither predicted nor right in any row."""
    from sklearn.metrics import f1_score

    return 100.0 * float(f1_score(labels, predictions, average="binary", zero_division=0))


def f1_macro(predictions: Numbers, labels: Numbers) -> float:
    """Unweighted mean of the F1 of each class that is predicted or right in any row (CommitmentBank)."""
    from sklearn.metrics import f1_score

    return 100.0 * float(f1_score(labels, predictions, average="macro", zero_division=0))


def mcc(predictions: Numbers, labels: Numbers) -> float:
    """Matthews correlation coefficient; 0 for constant predictions or labels."""
    from sklearn.metrics import matthews_corrcoef

    return 100.0 * float(matthews_corrcoef(labels, predictions)) if _vary(predictions, labels) else 0.0


def pearson(predictions: Numbers, labels: Numbers) -> float:
    """Pearson correlation; 0 where it is undefined."""
    from scipy.stats import pearsonr

    return 100.0 * float(pearsonr(predictions, labels)[0]) if _vary(predictions, labels) else 0.0


def spearman(predictions: Numbers, labels: Numbers) -> float:
    """Spearman rank correlation; 0 where it is undefined."""
    from scipy.stats import spearmanr

    return 100.0 * float(spearmanr(predictions, labels)[0]) if _vary(predictions, labels) else 0.0


def _vary(*series: Numbers) -> bool:
    """Whether a correlation is defined: all values are finite and not all are equal."""
    return all(bool(np.isfinite(values).all()) and len(np.unique(values)) > 1 for values in series)


LABEL_METRICS: dict[str, Callable[[Numbers, Numbers], float]] = {
    metric.__name__: metric for metric in (accuracy, f1, f1_macro, mcc, pearson, spearman)
}
