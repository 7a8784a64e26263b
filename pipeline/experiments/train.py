"""One training run from settings to results, in the driver."""

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import transformers

from camtl.model import CaMtlModel
from camtl.parameters import format_table, parameter_table
from pipeline.cluster import connection as cluster
from pipeline.cluster import launch
from pipeline.config import Settings
from pipeline.data.checks import check_data
from pipeline.data.preparation.prepared import read_label_column
from pipeline.experiments.assembly import build_job, check_model, load_data, select_tasks
from pipeline.runs.checkpoints.retry import retry_io
from pipeline.runs.directory import create_or_resume_run, run_paths, validate_run
from pipeline.runs.events import log_event
from pipeline.runs.monitor import OnScores, RunMonitor
from pipeline.runs.records import last_step
from pipeline.runs.results import log_results, write_results
from pipeline.sampling.batches import make_local_fetch
from pipeline.sampling.epoch_bound import epochs_beyond
from pipeline.sampling.plan import Mixture
from pipeline.sampling.ray_data import make_ray_data_fetch
from pipeline.tasks.base import Task
from pipeline.tracking.tracker import Tracker
from pipeline.training.evaluation import majority


def check_training(settings: Settings) -> tuple[tuple[Task, ...], CaMtlModel]:
    """Checks that the run can be trained, writes nothing, and connects to Ray at the end.

    Returns the tasks, and the model without weights.

    Raises:
        ValueError: A mistake in the settings or the data, in one line.
    """
    transformers.utils.logging.disable_progress_bar()
    tasks = select_tasks(settings)
    shape = check_model(build_job(settings, tasks))
    check_data(settings, tasks)
    validate_run(settings)
    cluster.connect()
    if settings.cluster.num_workers != 0:
        cluster.check_resources(settings.cluster.num_workers, settings.cluster.cpus_per_worker)
    return tasks, shape


def train(
    settings: Settings,
    show: Callable[[str], None] = print,
    *,
    tags: Mapping[str, str] | None = None,
    scored: OnScores | None = None,
) -> dict[str, Any]:
    """Runs a training; the settings have absolute paths.

    `show` receives progress lines, a new MLflow run gets `tags`, and `scored` receives each evaluation from one thread
    at a time. Returns the content of `results.json`, and `majority`, each task's scores of a constant answer.

    Raises:
        ValueError: A mistake in the settings or the data, in one line; nothing was trained.
    """
    tasks, shape = check_training(settings)
    show(f"preparing {len(tasks)} tasks from {settings.data.source}")
    data = load_data(settings, tasks)
    for line in data.report:
        show(line)
    job = build_job(settings, tasks, tuple(split.rows for split in data.train))
    baseline = majority(tasks, [read_label_column(split) for split in data.train], data.evals)
    make_fetch = make_local_fetch if settings.cluster.num_workers == 0 else make_ray_data_fetch
    fetch = make_fetch(data.train, settings.data.in_memory_bytes)
    run_dir, run_id = create_or_resume_run(settings, tags)
    with Tracker(settings.run.tracking_uri, run_id) as tracker:
        mixture, rows = job.mixture, sum(job.mixture.sizes)
        size = f"{mixture.max_steps} steps of {job.batch_size} rows over {rows} rows of {len(tasks)} tasks"
        show(f"training {size}: {run_dir}")
        show(format_table(parameter_table(shape)))
        if warning := _epochs_warning(mixture):
            show(warning)
        paths = run_paths(settings)
        monitor = RunMonitor(
            run_dir,
            mixture.tasks,
            mixture.max_steps,
            tracker,
            show,
            from_step=last_step(run_dir),  # of the run that is resumed
            store=paths.store if job.evaluate_elsewhere else None,
            on_scores=scored,
        )
        with contextlib.ExitStack() as stack:
            with monitor:
                run = launch.launch(job, fetch, data.evals, settings.cluster, paths, monitor.poll)
                best = stack.enter_context(run)
            write = partial(write_results, run_dir, tasks, best, mixture.sizes, settings.run.seed, baseline)
            results = retry_io(write, "writing the results", partial(log_event, run_dir))
            from pipeline.serving.pyfunc import save_pyfunc  # loads mlflow.pyfunc, which takes seconds

            log_results(run_dir, tasks, tracker, save_pyfunc)
    return {**results, "majority": baseline}


def _epochs_warning(mixture: Mixture) -> str:
    """Returns a line if `sampler.max_epochs_per_task` cannot hold, else an empty text."""
    candidates, bound = mixture.max_steps * mixture.candidates_per_step, mixture.options.max_epochs
    if not (beyond := epochs_beyond(mixture.sizes, candidates, bound)):
        return ""
    return (
        f"sampler.max_epochs_per_task {bound:g} cannot hold for {candidates} candidates of {sum(mixture.sizes)} rows: "
        f"every task is drawn {beyond:.1f} times"
    )
