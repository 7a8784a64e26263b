"""Labels of rows: numbers, names of classes, and rows without one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.formats.source import Origin, read_column, require_text

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

    A row without a label has -1 in its place, as the sets' own test splits do. In a regression that may
    take -1 it is a label like others. A label that is missing altogether (null, NaN) is a mistake.

    Returns:
        Labels [N] and whether the row is without one [N].

    Raises:
        ValueError: The column is missing, holds neither numbers nor names, or a label is none of the task's.
    """
    column = read_column(table, labels.column, origin)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if labels.num_labels is not None and labels.names and is_text(kind):
        numbers = class_numbers(require_text(column, labels.column, origin), labels.names)
        if (numbers < 0).any():
            index = int(np.argmax(numbers < 0))
            origin.fail(
                index,
                f"has label {column[index].as_py()!r}, but the task's labels are "
                f"{', '.join(map(repr, labels.names))}: correct it or change the task's label names",
            )
        return numbers.astype(np.float32), np.zeros(len(numbers), np.bool_)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        mend = "give labels as numbers" + (", or name the classes" if is_text(kind) else "")
        raise ValueError(
            f"task {origin.task!r}: column {labels.column!r} of {origin.name} holds {kind}: {mend}"
        )
    values: NDArray[np.float64] = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
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


def class_numbers(texts: pa.Array, names: tuple[str, ...]) -> NDArray[np.int64]:
    """[N] number of the class that each text names, -1 where it names none."""
    numbers = pc.index_in(texts, value_set=pa.array(names, pa.string()))
    found: NDArray[np.int64] = pc.fill_null(numbers, -1).to_numpy().astype(np.int64)
    return found


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
