"""A sweep, as its driver sees it: a space of settings in, the best configuration and a comparison out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pipeline.cluster import connection as cluster
from pipeline.config import Settings
from pipeline.experiments.assembly import prepare_data, tasks_of
from pipeline.experiments.parent_run import check_parent, open_parent
from pipeline.experiments.tune.check import changes, check_sweep, config_of
from pipeline.experiments.tune.follow import FollowTrials
from pipeline.experiments.tune.legs import run_legs
from pipeline.experiments.tune.log import FINISHED, SweepLog
from pipeline.experiments.tune.outcome import finish_sweep
from pipeline.experiments.tune.search import most_concurrent
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import Space
from pipeline.experiments.tune.trial import Trial
from pipeline.tracking.runs import check_tracking
from pipeline.tracking.tracker import Tracker


def sweep(
    settings: Settings, wanted: SweepSettings, space: Space, show: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run a sweep, or go on with one (`run.resume`).

    Args:
        settings: of the run that every trial starts from; absolute paths. `run.name` is the sweep's.
        wanted: how to search.
        space: what is searched.
        show: takes lines for a person.

    Returns:
        What `sweep.json` holds: the trials, the best one, and where the time went.

    Raises:
        ValueError: a user's mistake, in one line; nothing was trained.
    """
    folder = check_parent(settings.run, "sweep")
    changed: list[str] = []
    if settings.run.resume is not None:
        changed = changes(folder, settings, wanted)
    check_sweep(settings, wanted, space)
    check_tracking(settings.run.tracking_uri)
    tasks = tasks_of(settings)
    cluster.connect(log_to_driver=False)  # trials tell what they do by their log and MLflow
    if settings.cluster.num_workers != 0:
        cluster.check_resources(settings.cluster.num_workers, settings.cluster.cpus_per_worker)
    concurrent = wanted.max_concurrent_trials or most_concurrent(settings.cluster)
    show(f"preparing {len(tasks)} tasks from {settings.data.source}")
    prepare_data(settings, tasks)
    parent = open_parent(settings.run, config_of(settings, wanted), {"sweep": settings.run.name})
    tracker, log = Tracker(settings.run.tracking_uri, parent), SweepLog(folder)
    status = "FAILED"
    try:
        show(f"sweep of at most {wanted.max_trials} trials, {concurrent} at a time: {folder}")
        for line in changed:
            show(f"changed: {line}; trials from before stay in the table")
        base = replace(settings, run=replace(settings.run, resume=None))
        follow = FollowTrials(folder, log, tracker, show)
        run_legs(folder, Trial(base, space, parent), wanted, follow, concurrent, changed=bool(changed))
        outcome = finish_sweep(folder, settings, space, wanted, log, follow.seconds, tracker)
        status = "FINISHED" if log.count(FINISHED) else "FAILED"
        return outcome
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.finish(status)
