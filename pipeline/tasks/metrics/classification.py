"""Metrics of numbers against labels, on the 0–100 scale: classes, values, choices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

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
