"""Three small training splits and a plan over them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from camtl import TokenRows
from pipeline.sampling.plan import Mixture, Plan
from pipeline.sampling.state import SamplerState
from tests.toy import assert_same_rows, make_job, make_table

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
        assert_same_rows(one, other)
