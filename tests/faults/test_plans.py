"""The plans of the long set, and the counts of its outcomes."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.faults import FAULTS
from tests.faults.outcomes import FaultReport, Outcome, apply_problems
from tests.faults.plans import AT_START, NEEDS, check_kinds, plan_runs

KINDS = st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, unique=True)


@given(kinds=KINDS, faults=st.integers(1, 60), per_run=st.integers(1, 6), seed=st.integers(0, 99))
def test_all_kinds_are_planned_equally_often_in_runs_where_they_can_strike(
    kinds: list[str], faults: int, per_run: int, seed: int
) -> None:
    plans = plan_runs(kinds, faults, per_run=per_run, steps=60, seed=seed)
    tried = Counter(fault.kind for plan in plans for fault in plan.faults)
    assert tried.total() == faults
    assert max(tried.values()) - min(tried.get(kind, 0) for kind in kinds) <= 1
    for plan in plans:
        assert 1 <= len(plan.faults) <= per_run
        assert all(NEEDS.get(fault.kind) in (None, plan.store) for fault in plan.faults)
        steps = [fault.step for fault in plan.faults]
        assert steps == sorted(steps)
        assert sum(fault.kind in AT_START for fault in plan.faults) <= 1


def test_a_seed_determines_the_plans() -> None:
    def plans(seed: int) -> object:
        return plan_runs(list(FAULTS), 30, per_run=5, steps=60, seed=seed)

    assert plans(3) == plans(3) != plans(4)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    assert check_kinds([]) == list(FAULTS)
    with pytest.raises(ValueError, match=r"no fault 'wrkr': use one of worker, driver"):
        check_kinds(["wrkr"])


STRUCK = [
    Outcome("worker", 0, "s3", 4, survived=True, seconds=2.0),
    Outcome("driver", 0, "s3", 9, survived=True, seconds=30.0, resumed=1),
    Outcome("worker", 0, "s3", 20, survived=True, seconds=4.0),
]


def test_a_run_with_a_problem_survived_none_of_its_faults() -> None:
    assert apply_problems(STRUCK, []) == STRUCK
    lost = apply_problems(STRUCK, ["rows.parquet differs"])
    assert [(one.survived, one.problem) for one in lost] == [(False, "rows.parquet differs")] * 3


def test_the_report_counts_by_kind_and_lists_what_was_lost() -> None:
    lost = Outcome("driver", 1, "disk", 7, survived=False, problem="no step")
    report = FaultReport([*STRUCK, lost], not_tried=["- node at step 3: the run had ended"])
    shown = report.markdown()
    assert "| worker | 2 | 2 | 0 | 3.0 | 4.0 |" in shown
    assert "| driver | 2 | 1 | 1 | 30.0 | 30.0 |" in shown
    assert "| all | 4 | 3 | 1 | 4.0 | 30.0 |" in shown
    assert "- run 1 (disk), driver at step 7: no step" in shown
    assert "- node at step 3: the run had ended" in shown
    driver = {"tried": 2, "survived": 1, "resumed": 1, "median_seconds": 30.0, "worst_seconds": 30.0}
    assert json.loads(json.dumps(report.to_dict()))["kinds"]["driver"] == driver
