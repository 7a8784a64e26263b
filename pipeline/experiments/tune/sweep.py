"""A sweep from its space to its best configuration, in the driver."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pipeline.cluster import connection as cluster
from pipeline.config import Settings
from pipeline.experiments.assembly import prepare_data, select_tasks
from pipeline.experiments.parent_run import check_parent, open_parent
from pipeline.experiments.tune.checks import check_changes, check_sweep, config_of
from pipeline.experiments.tune.monitor import SweepMonitor
from pipeline.experiments.tune.records import FINISHED
from pipeline.experiments.tune.report import write_sweep_report
from pipeline.experiments.tune.runner import most_concurrent, run_trials
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import Space
from pipeline.experiments.tune.trial import TrialTrainable
from pipeline.tracking.runs import check_tracking
from pipeline.tracking.tracker import Tracker


def sweep(
    settings: Settings, wanted: SweepSettings, space: Space, show: Callable[[str], None] = print
) -> dict[str, Any]:
    """Runs a sweep, or resumes one (`run.resume`); returns the content of `sweep.json`.

    Every trial starts from `settings`, whose paths are absolute and whose `run.name` is the sweep's.

    Raises:
        ValueError: A mistake in the settings, in one line; nothing was trained.
    """
    folder = check_parent(settings.run, "sweep")
    changes = [] if settings.run.resume is None else check_changes(folder, settings, wanted)
    check_sweep(settings, wanted, space)
    check_tracking(settings.run.tracking_uri)
    tasks = select_tasks(settings)
    cluster.connect(log_to_driver=False)  # each trial has a log file
    if settings.cluster.num_workers != 0:
        cluster.check_resources(settings.cluster.num_workers, settings.cluster.cpus_per_worker)
    concurrent = wanted.max_concurrent_trials or most_concurrent(settings.cluster)
    show(f"preparing {len(tasks)} tasks from {settings.data.source}")
    prepare_data(settings, tasks)
    parent = open_parent(settings.run, config_of(settings, wanted), {"sweep": settings.run.name})
    with Tracker(settings.run.tracking_uri, parent) as tracker:
        show(f"sweep of at most {wanted.max_trials} trials, {concurrent} at a time: {folder}")
        monitor = SweepMonitor(folder, tracker, show)
        if changes:
            for line in changes:
                show(f"changed: {line}; earlier trials stay in the table")
            monitor.stop_running()
            monitor.log.generation += 1
        base = replace(settings, run=replace(settings.run, resume=None))
        run_trials(TrialTrainable(base, space, parent), wanted, monitor, concurrent)
        outcome = write_sweep_report(settings.run, space, wanted.objectives, monitor)
        if not monitor.log.with_status(FINISHED):
            tracker.status = "FAILED"
    return outcome
