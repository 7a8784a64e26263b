"""Labels: numbers, names and text out of files without types; rows without a label; invalid labels."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.formats import Labels, Origin
from pipeline.data.formats.labels import read_labels
from pipeline.data.formats.reading import SourceRows

TWO = Labels(num_labels=2)
VERDICT = Labels(num_labels=2, names=("bad", "good"))
STARS = Labels(num_labels=3, names=("1", "2", "3"))
ANY_VALUE, RANGE = Labels(), Labels(value_range=(0, 5))


def read(values: list[object], labels: Labels) -> tuple[list[float], list[bool]]:
    rows = SourceRows(pa.table({"label": values}), Origin("reviews", "reviews.csv", np.array([7, 9, 30])))
    numbers, unlabelled = read_labels(rows, labels)
    assert numbers.dtype == np.float32
    return numbers.tolist(), unlabelled.tolist()


@pytest.mark.parametrize(
    ("values", "labels", "numbers", "unlabelled"),
    [
        ([0, 2, -1], Labels(num_labels=3), [0, 2, -1], [2]),
        ([True, False, True], TWO, [1, 0, 1], []),
        (["1", "0"], TWO, [1, 0], []),
        # A class is written as its name or its number.
        (["good", "bad", "good"], VERDICT, [1, 0, 1], []),
        (["1", "0", "-1"], VERDICT, [1, 0, -1], [2]),
        # Of classes that are named by numbers the name counts.
        (["1", "3"], STARS, [0, 2], []),
        ([1, 3], STARS, [0, 2], []),
        ([-1, 2], STARS, [-1, 1], [0]),
        (["0", "1"], Labels(num_labels=2, names=("0", "1")), [0, 1], []),
        # -1 is a value of a regression whose range includes it.
        ([0.25, -1.0, 5.0], ANY_VALUE, [0.25, -1, 5], []),
        ([0.5, -1.0, 5.0], Labels(value_range=(-2, 5)), [0.5, -1, 5], []),
        ([0.5, -1.0, 5.0], RANGE, [0.5, -1, 5], [1]),
        (["3.5", " 4", "-1"], RANGE, [3.5, 4, -1], [2]),
    ],
)
def test_labels_are_read_as_numbers(
    values: list[object], labels: Labels, numbers: list[float], unlabelled: list[int]
) -> None:
    assert read(values, labels) == (numbers, [index in unlabelled for index in range(len(values))])


@pytest.mark.parametrize(
    ("values", "labels", "problem"),
    [
        ([0, 2, 1], TWO, "row 9 has label 2, but the task takes whole numbers from 0 to 1"),
        ([0, 1, -2], TWO, "row 30 has label -2, but"),
        ([0, 0.5, 1], TWO, r"row 9 has label 0\.5, but"),
        ([0, None, 1], TWO, "row 9 has label None, but"),
        ([0.0, float("nan"), 1.0], ANY_VALUE, "row 9 has label nan, but the task takes finite numbers"),
        ([0.0, 5.5, 1.0], RANGE, r"row 9 has label 5\.5, but the task takes 0 to 5"),
        (["3.5", "5.5"], RANGE, r"row 9 has label 5\.5, but the task takes 0 to 5"),
        (["3.5", "high"], RANGE, "holds string: give labels as numbers$"),
        (["a", "b", "c"], TWO, "holds string: give labels as numbers, or name the classes"),
        ([[0], [1], [0]], TWO, "holds list.*: give labels as numbers$"),
        (
            ["good", "goood"],
            VERDICT,
            "row 9 has label 'goood', but the task's labels are 'bad', 'good': correct",
        ),
        (["good", ""], VERDICT, "row 9 has label '', but the task's labels are"),
        (["good", "2"], VERDICT, "row 9 has label 2, but the task takes whole numbers from 0 to 1"),
        ([1, 4], STARS, "row 9 has label 4, but the task's labels are '1', '2', '3'"),
        (["1", "0"], STARS, "row 9 has label '0', but the task's labels are '1', '2', '3'"),
    ],
)
def test_an_invalid_label_is_refused_with_its_row(values: list[object], labels: Labels, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"task 'reviews': .*reviews\.csv.*{problem}"):
        read(values, labels)
