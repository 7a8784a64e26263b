"""Labels of rows: numbers, names of classes, and rows without one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.data.formats.source import Origin, is_text, read_column, require_text

UNLABELLED = -1  # what sets without labels, such as official test splits, give in their place


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Where a row's label is, and what it may be.

    Attributes:
        column: Numbers; or, for a classification with `names`, the classes' names.
        num_labels: Classes; None for a regression.
        names: Names of the classes in the order of their numbers, for labels that are text.
        value_range: (lowest, highest) value of a regression, if it has bounds.
    """

    column: str = "label"
    num_labels: int | None = None
    names: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None


def read_labels(
    table: pa.Table, labels: Labels, origin: Origin
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Labels of N rows, and which rows have none.

    A class may be given by its name or by its number, and a number as text, as files without types have it. Where
    both are meant alike, as of classes named 1 to 5, it is the name. A row without a label has -1 in its place, as
    the sets' own test splits do. In a regression that may take -1 it is a label like others. A label that is missing
    altogether (null, NaN) is a mistake.

    Returns:
        Labels [N] and whether the row is without one [N].

    Raises:
        ValueError: The column is missing, holds neither numbers nor names, or a label is none of the task's.
    """
    column = read_column(table, labels.column, origin)
    values = _values(column, labels, origin)
    # Written so that NaN, which missing labels have become, is never good.
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
        origin.fail(
            index, f"has label {column[index].as_py()}, but the task {allowed}: correct or remove the row"
        )
    return values.astype(np.float32), unlabelled


def _values(column: pa.Array, labels: Labels, origin: Origin) -> NDArray[np.float64]:
    """Labels as numbers [N], NaN for a missing one."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    names = labels.names if labels.num_labels is not None else ()
    holds = f"task {origin.task!r}: column {labels.column!r} of {origin.name} holds {kind}: give labels as numbers"
    values: NDArray[np.float64]
    if is_text(kind):
        texts = require_text(column, labels.column, origin)
        values = np.array([_number(text) for text in texts.to_pylist()])
        if not names and np.isnan(values).any():
            raise ValueError(holds + (", or name the classes" if labels.num_labels is not None else ""))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
        texts = pc.cast(column, pa.string()) if pa.types.is_integer(kind) else None
    else:
        raise ValueError(holds)
    if not names or texts is None:
        return values
    values = _with_names(values, texts, names)
    strange = np.isnan(values) & column.is_valid().to_numpy(zero_copy_only=False)
    if strange.any():
        index = int(np.argmax(strange))
        origin.fail(
            index,
            f"has label {column[index].as_py()!r}, but the task's labels are "
            f"{', '.join(map(repr, names))}: correct it or change the task's label names",
        )
    return values


def _number(text: str) -> float:
    """The number that a text says, NaN where it says none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _with_names(values: NDArray[np.float64], texts: pa.Array, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Values [N], with the number of the class in the place of each that is a class's name.

    Where numbers are names, a number that names no class is none, so that 0 is not taken for the first of 1 to 5.
    """
    numbers = class_numbers(texts, names)
    if not all(np.isnan(_number(name)) for name in names):
        values = np.where(values == UNLABELLED, values, np.nan)
    return np.where(numbers >= 0, numbers, values)


def class_numbers(texts: pa.Array, names: tuple[str, ...]) -> NDArray[np.int64]:
    """[N] number of the class that each text names, -1 where it names none."""
    numbers = pc.index_in(texts, value_set=pa.array(names, pa.string()))
    found: NDArray[np.int64] = pc.fill_null(numbers, -1).to_numpy().astype(np.int64)
    return found
