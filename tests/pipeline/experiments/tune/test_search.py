"""The records of trials, and the search that continues from them in another session."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from jobs.cli.parser import FIELDS
from pipeline.experiments.tune.records import FAILED, FINISHED, RUNNING, STOPPED, SweepLog, TrialRecord
from pipeline.experiments.tune.search import (
    SweepSearch,
    make_sampler,
    make_scheduler,
    make_study,
    new_points,
    replay,
)
from pipeline.experiments.tune.space import Space, parse_space

RATE = {"train.learning_rate": {"loguniform": [1e-5, 1e-3]}}
GRID = {"run.seed": {"grid": [0, 1]}, "sampler.policy": {"grid": ["size", "uniform"]}}


def space_of(spec: dict[str, Any]) -> Space:
    return parse_space(spec, list(FIELDS))


def make_search(
    space: Space, records: list[TrialRecord], room: int, search: str = "random", scheduler: Any = None
) -> SweepSearch:
    points, sampler = new_points(space, records, room), make_sampler(search, len(records))
    scheduler = scheduler or make_scheduler("none", 1, 1, 3)
    return SweepSearch(space, records, points, ("average",), sampler, scheduler)


def test_a_log_is_the_same_when_it_is_read_again(tmp_path: Path) -> None:
    log = SweepLog(tmp_path)
    first, second = (
        log.record(name, {"train.learning_rate": rate}) for name, rate in (("a", 1e-4), ("b", 2e-4))
    )
    first.update({"step": 5, "average": 40.0, "rows_trained": 50})
    first.update({"step": 5, "average": 40.0, "rows_trained": 50})  # a resumed trial reports it again
    ended = {"step": 10, "average": 45.0, "rows_trained": 100, "parameters": 7, "seconds": 3.0, "ended": True}
    first.update(ended)
    first.status, second.status = FINISHED, STOPPED
    log.save(12.0)
    again = SweepLog(tmp_path)
    assert again.trials == log.trials
    assert again.seconds == 12.0
    assert again.trials["a"].history == [(5, 40.0, 50), (10, 45.0, 100)]
    assert [record.number for record in again.trials.values()] == [1, 2]
    assert [record.id for record in again.with_status(FINISHED)] == ["a"]


def test_the_pareto_set_has_the_trials_that_no_other_one_dominates() -> None:
    points = {"a": (50.0, 100), "b": (60.0, 200), "c": (55.0, 250), "d": (60.0, 300), "e": (40.0, 100)}
    records = [
        TrialRecord(name, number, {}, FINISHED, average=average, rows_trained=rows)
        for number, (name, (average, rows)) in enumerate(points.items())
    ]
    for objectives, expected in ((("average", "rows_trained"), ["a", "b"]), (("average",), ["b", "d"])):
        trials = make_study((), records, objectives).best_trials
        assert [trial.user_attrs["id"] for trial in trials] == expected


@pytest.mark.parametrize("unfinished", [False, True])
def test_a_new_scheduler_stops_what_is_behind_earlier_trials(unfinished: bool) -> None:
    late, behind = SimpleNamespace(trial_id="late"), {"step": 3, "average": 10.0}
    scheduler = make_scheduler("asha", 3, 27, 3)
    space, status = space_of(RATE), RUNNING if unfinished else STOPPED
    drawn = {"train.learning_rate": 1e-4}
    records = [TrialRecord(str(n), n, drawn, status, history=[(3, 50.0 + n, 9)]) for n in range(4)]
    search = make_search(space, records, 0, scheduler=scheduler)
    for number in range(search.num_trials):
        search.suggest(f"tune-{number}")
    scheduler.on_trial_add(None, late)  # type: ignore[arg-type]
    assert scheduler.on_trial_result(None, late, behind) == TrialScheduler.STOP  # type: ignore[arg-type]
    fresh = make_scheduler("asha", 3, 27, 3)
    replay(fresh, "late", TrialRecord("late", 1, drawn))
    assert fresh.on_trial_result(None, late, behind) == TrialScheduler.CONTINUE  # type: ignore[arg-type]


def test_a_grid_is_tried_once_and_beside_other_dimensions_in_complete_passes() -> None:
    grid, mixed = space_of(GRID), space_of({**RATE, **GRID})
    points = new_points(grid, [], 9)
    order = [(0, "size"), (1, "size"), (0, "uniform"), (1, "uniform")]
    assert [tuple(point.values()) for point in points] == order
    tried = [TrialRecord("a", 1, {"run.seed": 1, "sampler.policy": "size", "train.learning_rate": 1e-4})]
    assert new_points(grid, tried, 0) == [points[0], *points[2:]]
    assert new_points(mixed, tried, 8) == [points[0], *points[2:], *points]
    assert new_points(space_of(RATE), tried, 2) == [{}, {}]
    assert new_points(space_of(RATE), tried, -1) == []


def test_unfinished_trials_come_first_under_their_names_then_new_draws() -> None:
    space = space_of({**RATE, "run.seed": {"grid": [0, 1, 2]}})
    drawn = {"train.learning_rate": 2e-4, "run.seed": 1}
    done = TrialRecord("done", 1, {"train.learning_rate": 1e-4, "run.seed": 0}, FINISHED, average=1.0)
    search = make_search(space, [done, TrialRecord("cut", 2, drawn, RUNNING)], 1)
    resumed, new = (search.suggest(f"tune-{number}") for number in range(search.num_trials))
    assert resumed == {"id": "cut", "drawn": drawn}
    assert (new["id"], new["drawn"]["run.seed"]) == ("tune-1", 2)
    assert 1e-5 <= new["drawn"]["train.learning_rate"] <= 1e-3


@pytest.mark.parametrize("search", ["random", "optuna"])
def test_draws_stay_inside_and_another_session_draws_others(search: str) -> None:
    space = space_of(
        {
            **RATE,
            "train.batch_size": {"randint": [2, 4]},
            "model.dropout": {"uniform": [0.1, 0.2]},
            "sampler.policy": {"choice": ["size", "uniform"]},
        }
    )
    records: list[TrialRecord] = []
    rates = set()
    for session in range(2):
        first = make_search(space, records, 40, search)
        for number in range(first.num_trials):
            drawn = first.suggest(str(number))["drawn"]
            rates.add(drawn["train.learning_rate"])
            assert drawn["train.batch_size"] in (2, 3)
            assert 0.1 <= drawn["model.dropout"] <= 0.2
            assert drawn["sampler.policy"] in ("size", "uniform")
            average = -abs(math.log(drawn["train.learning_rate"] / 1e-4))
            result = {"average": average, "step": 1} if number % 5 else None
            first.on_trial_complete(str(number), result, error=result is None)
            status = FINISHED if result else FAILED
            records.append(TrialRecord(f"{session}-{number}", number, drawn, status, average=average))
    assert len(rates) == 80
    assert 1e-5 <= min(rates) < 1e-4 < max(rates) <= 1e-3
    later = [math.log10(record.drawn["train.learning_rate"]) for record in records[40:]]
    near = sum(abs(rate + 4) < 0.3 for rate in later)
    assert (near > 20) == (search == "optuna"), "only TPE learns from the earlier session"
