"""Starts the ranks of a training job: Ray Train's workers, or one rank in this process."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline.cluster.reports import ControllerCallback
from pipeline.cluster.validation import Evals
from pipeline.cluster.workers import train_on_workers
from pipeline.config import ClusterSettings
from pipeline.runs.checkpoints.checkpoint import DamagedCheckpointError, seal
from pipeline.runs.checkpoints.retry import retry_io
from pipeline.runs.checkpoints.store import CheckpointStore, checkpoint_name
from pipeline.runs.directory import RunPaths
from pipeline.runs.events import log_event
from pipeline.runs.records import Records, last_step
from pipeline.sampling.batches import Fetch
from pipeline.training.evaluation import EvalSet
from pipeline.training.job import TrainJob
from pipeline.training.loop import Save, train_on_rank

Best = tuple[Path, Mapping[str, Any]]


@contextlib.contextmanager
def launch(
    job: TrainJob,
    fetch: Fetch,
    evals: Evals,
    settings: ClusterSettings,
    paths: RunPaths,
    on_records: Callable[[], None],
) -> Iterator[Best]:
    """Trains on workers or here, from the newest intact checkpoint if there is one.

    Args:
        job: The training job.
        fetch: Fetches a rank's training rows.
        evals: Prepared rows.
        settings: Workers and storage.
        paths: Of the records and checkpoints.
        on_records: Called after each chunk of records that this process writes.

    Yields:
        (folder of the best checkpoint, its metrics), valid until the context ends.

    Raises:
        ValueError: A checkpoint belongs to another run, or a worker met another mistake of the user.
    """
    attempt = paths.store.new_attempt()
    paths.store.clear_fragments(attempt)
    if settings.num_workers == 0:
        _train_here(job, fetch, evals, settings, paths, attempt, on_records)
    else:
        train_on_workers(job, fetch, evals, settings, paths, attempt)
    with _best_intact(paths.store, partial(log_event, paths.run_dir)) as best:
        yield best


def _train_here(
    job: TrainJob,
    fetch: Fetch,
    evals: Evals,
    settings: ClusterSettings,
    paths: RunPaths,
    attempt: str,
    on_records: Callable[[], None],
) -> None:
    """Trains one rank in this process, where a debugger can stop it."""
    store, log = paths.store, partial(log_event, paths.run_dir)
    callback = ControllerCallback(paths, job.mixture.tasks, settings.keep_checkpoints)

    def write_checkpoint(name: str, save: Save, metrics: Mapping[str, Any]) -> None:
        with store.create(name, attempt) as folder:
            save(folder)
            seal(folder, metrics)

    def report(records: Records, save: Save | None, metrics: dict[str, Any] | None) -> None:
        callback.write_records([records])
        if save is not None and metrics is not None:
            name = checkpoint_name(metrics["step"])
            retry_io(partial(write_checkpoint, name, save, metrics), f"storing checkpoint {name}", log)
            store.prune(settings.keep_checkpoints, name)
        on_records()

    notes: list[str] = []
    checkpoint = store.newest_intact(last_step(paths.run_dir), notes.append)
    with store.open_verified(checkpoint) if checkpoint else contextlib.nullcontext() as folder:
        train_on_rank(
            job,
            fetch=fetch,
            eval_sets=EvalSet.of_tables(job.mixture.tasks, evals),
            device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
            report=report,
            resume_from=folder,
            notes=notes,
        )


@contextlib.contextmanager
def _best_intact(store: CheckpointStore, log: Callable[[str], None]) -> Iterator[Best]:
    """Yields the intact checkpoint of the highest average; of equal ones the earliest step, in its latest attempt."""
    latest_first = reversed(store.checkpoints())
    for stored in sorted(latest_first, key=lambda stored: (-stored.average, stored.step)):
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(store.open_verified(stored))
            except (DamagedCheckpointError, OSError) as error:
                log(f"checkpoint {stored.name} is damaged ({error}): the next best one is used")
                continue
            yield folder, stored.metrics
            return
    raise ValueError(
        f"no intact checkpoint in {store.root}: resume the run, or start again with --run.overwrite true"
    )
