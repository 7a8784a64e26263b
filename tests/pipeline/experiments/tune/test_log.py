"""What is known of trials outlives the process, and a new scheduler hears it."""

from pathlib import Path
from types import SimpleNamespace

from ray.tune.schedulers import TrialScheduler

from pipeline.experiments.tune.log import FINISHED, STOPPED, SweepLog, TrialRecord, pareto
from pipeline.experiments.tune.search import make_scheduler, replay


def test_a_log_is_the_same_when_it_is_read_again(tmp_path: Path) -> None:
    log = SweepLog(tmp_path)
    first, second = log.of("a", {"train.learning_rate": 1e-4}), log.of("b", {"train.learning_rate": 2e-4})
    first.hear({"step": 5, "average": 40.0, "rows_trained": 50})
    first.hear({"step": 5, "average": 40.0, "rows_trained": 50})  # a resumed trial tells it again
    ended = {"step": 10, "average": 45.0, "rows_trained": 100, "parameters": 7, "seconds": 3.0, "ended": True}
    first.hear(ended)
    first.status, second.status = FINISHED, STOPPED
    log.save(12.0)
    again = SweepLog(tmp_path)
    assert again.trials == log.trials
    assert again.seconds == 12.0
    assert again.trials["a"].history == [(5, 40.0, 50), (10, 45.0, 100)]
    assert [record.number for record in again.trials.values()] == [1, 2]
    assert [record.id for record in again.finished()] == ["a"]


def test_the_pareto_set_has_what_no_other_trial_beats_in_everything() -> None:
    points = {"a": (50.0, 100), "b": (60.0, 200), "c": (55.0, 250), "d": (60.0, 300), "e": (40.0, 100)}
    records = [
        TrialRecord(name, number, {}, FINISHED, average=average, rows_trained=rows)
        for number, (name, (average, rows)) in enumerate(points.items())
    ]
    assert [record.id for record in pareto(records, ("average", "rows_trained"))] == ["a", "b"]
    assert [record.id for record in pareto(records, ("average",))] == ["b", "d"]


def test_a_scheduler_that_hears_what_was_stops_what_is_behind_it() -> None:
    late = SimpleNamespace(trial_id="late")
    behind = {"step": 3, "average": 10.0}
    decisions = []
    for records in ([], [TrialRecord(str(n), n, {}, history=[(3, 50.0 + n, 9)]) for n in range(4)]):
        scheduler = make_scheduler("asha", 3, 27, 3)
        for record in records:
            replay(scheduler, record)
        scheduler.on_trial_add(None, late)  # type: ignore[arg-type]
        decisions.append(scheduler.on_trial_result(None, late, behind))  # type: ignore[arg-type]
    assert decisions == [TrialScheduler.CONTINUE, TrialScheduler.STOP]
