"""Labels of rows: numbers, names of classes, and rows without a label."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.data.formats.encoding import Ints
from pipeline.data.formats.reading import SourceRows, is_text, require_text, value_type

UNLABELLED = -1  # the label of rows without one, as in official test splits


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The column of a row's label, and its valid values.

    Attributes:
        column: Numbers; or, for a classification with `names`, the classes' names.
        num_labels: Number of classes; None for a regression.
        names: Names of the classes in the order of their numbers, for labels that are text.
        value_range: (lowest, highest) value of a regression, if it has bounds.
    """

    column: str = "label"
    num_labels: int | None = None
    names: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None


def read_labels(rows: SourceRows, labels: Labels) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Labels of N rows, and which rows have none.

    A class is written as its name or its number; numbers may be text, as in files without types. A
    label that could be both, as with classes named 1 to 5, is a name. -1 stands for no label, except in a
    regression whose range includes it. A null or NaN is an error.

    Returns:
        Labels [N] and whether the row has none [N].

    Raises:
        ValueError: The column is missing or holds neither numbers nor names, or a label is invalid.
    """
    column = rows.column(labels.column)
    values = _values(column, rows, labels)
    # NaN, the value of a missing label, must compare as not good.
    if labels.num_labels is not None:
        good = (values >= 0) & (values < labels.num_labels) & (values == np.floor(values))
        allowed = f"takes whole numbers from 0 to {labels.num_labels - 1}, or -1 where there is no label"
    elif labels.value_range is not None:
        low, high = labels.value_range
        good = (values >= low) & (values <= high)
        allowed = f"takes {low:g} to {high:g}"
    else:
        good, allowed = np.isfinite(values), "takes finite numbers"
    unlabelled = ~good & (values == UNLABELLED)
    if not (good | unlabelled).all():
        index = int(np.argmin(good | unlabelled))
        problem = f"has label {column[index].as_py()}, but the task {allowed}: correct or remove the row"
        rows.origin.fail(index, problem)
    return values.astype(np.float32), unlabelled


def _values(column: pa.Array, rows: SourceRows, labels: Labels) -> NDArray[np.float64]:
    """Labels as numbers [N], NaN for a missing one."""
    kind = value_type(column)
    names = labels.names if labels.num_labels is not None else ()
    remedy = f"holds {kind}: give labels as numbers"
    if is_text(kind):
        column = require_text(column, labels.column, rows.origin)
        values = np.array([_number(text) for text in column.to_pylist()])
        if not names and np.isnan(values).any():
            remedy += ", or name the classes" if labels.num_labels is not None else ""
            rows.origin.fail_column(labels.column, remedy)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    else:
        rows.origin.fail_column(labels.column, remedy)
    if not names or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return values
    if not all(np.isnan(_number(name)) for name in names):
        # Where names are numbers, any other number is invalid: 0 is not the first of the classes 1 to 5.
        values = np.where(values == UNLABELLED, values, np.nan)
    numbers = class_numbers(column.cast(pa.string()), names)
    values = np.where(numbers >= 0, numbers, values)
    unknown = np.isnan(values) & column.is_valid().to_numpy(zero_copy_only=False)
    if unknown.any():
        index = int(np.argmax(unknown))
        rows.origin.fail(
            index,
            f"has label {column[index].as_py()!r}, but the task's labels are "
            f"{', '.join(map(repr, names))}: correct it or change the task's label names",
        )
    return values


def _number(text: str) -> float:
    """The number that a text spells, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def class_numbers(texts: pa.Array, names: tuple[str, ...]) -> Ints:
    """[N] number of the class with each name, -1 for an unknown name."""
    numbers = pc.index_in(texts, value_set=pa.array(names, pa.string()))
    return numbers.fill_null(-1).to_numpy().astype(np.int64)
