"""Labels out of files without types: names and numbers as text."""

import pyarrow as pa
import pytest

from pipeline.data.formats import Labels, Origin
from pipeline.data.formats.labels import read_labels

VERDICT = Labels(num_labels=2, names=("bad", "good"))
STARS = Labels(num_labels=3, names=("1", "2", "3"))


def read(values: list[object], rule: Labels) -> list[float]:
    origin = Origin(task="reviews", name="reviews.csv", row_ids=range(len(values)))
    return read_labels(pa.table({"label": values}), rule, origin)[0].tolist()


def test_a_class_is_given_by_name_or_by_number() -> None:
    assert read(["good", "bad", "1", "0", "-1"], VERDICT) == [1, 0, 1, 0, -1]
    assert read(["1", "0"], Labels(num_labels=2)) == [1, 0]


def test_classes_that_are_named_by_numbers_go_by_name() -> None:
    assert read(["1", "3"], STARS) == read([1, 3], STARS) == [0, 2]
    assert read(["0", "1"], Labels(num_labels=2, names=("0", "1"))) == [0, 1]
    assert read([-1, 2], STARS) == [-1, 1]


def test_a_value_is_read_out_of_text() -> None:
    assert read(["3.5", " 4", "-1"], Labels(value_range=(0, 5))) == [3.5, 4, -1]


@pytest.mark.parametrize(
    ("values", "rule", "told"),
    [
        (
            ["good", "goood"],
            VERDICT,
            "row 1 has label 'goood', but the task's labels are 'bad', 'good': correct",
        ),
        (["good", ""], VERDICT, "row 1 has label '', but the task's labels are"),
        (["good", "2"], VERDICT, "row 1 has label 2, but the task takes whole numbers from 0 to 1"),
        ([1, 4], STARS, "row 1 has label 4, but the task's labels are '1', '2', '3'"),
        (["1", "0"], STARS, "row 1 has label '0', but the task's labels are '1', '2', '3'"),
        (["3.5", "high"], Labels(value_range=(0, 5)), "holds string: give labels as numbers$"),
        (["3.5", "5.5"], Labels(value_range=(0, 5)), "row 1 has label 5.5, but the task takes 0 to 5"),
    ],
)
def test_what_is_no_label_is_told(values: list[object], rule: Labels, told: str) -> None:
    with pytest.raises(ValueError, match=rf"task 'reviews': .*reviews.csv.*{told}"):
        read(values, rule)
