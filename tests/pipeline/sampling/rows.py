"""Three small training splits and a plan over them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from camtl import TokenRows
from pipeline.sampling.plan import Mixture, Plan
from pipeline.sampling.state import SamplerState
from tests.toy import make_job, make_table

SIZES = (40, 9, 24)
TABLES = [make_table(task, rows) for task, rows in enumerate(SIZES)]


def make_mixture(**changes: Any) -> Mixture:
    """Rounds of 3 steps of 16 candidates, to step 8."""
    return replace(make_job("", SIZES).mixture, **changes)


def make_plan(**changes: Any) -> Plan:
    """The first round."""
    return make_mixture(**changes).current(SamplerState.initial(len(SIZES)))


def assert_same(left: Sequence[TokenRows], right: Sequence[TokenRows]) -> None:
    """The same rows in the same steps."""
    for one, other in zip(left, right, strict=True):
        for name in ("input_ids", "token_type_ids", "offsets", "task_ids", "labels", "row_ids"):
            values, expected = getattr(one, name), getattr(other, name)
            np.testing.assert_array_equal(values, expected, err_msg=name)
            assert values.dtype == expected.dtype, name
