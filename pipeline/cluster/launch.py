"""Starting the ranks of a training job: Ray Train's workers, or this process alone."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline.cluster import workers as ray_workers
from pipeline.config import ClusterSettings
from pipeline.runs.checkpoints.checkpoint import DamagedCheckpointError, seal
from pipeline.runs.checkpoints.retry import retry_io
from pipeline.runs.checkpoints.store import CheckpointStore, StoredCheckpoint, checkpoint_name
from pipeline.runs.directory import RunPaths
from pipeline.runs.events import log_event
from pipeline.runs.records import Records, last_step, write_chunk
from pipeline.sampling.batches import Fetch
from pipeline.training.evaluation import EvalSet
from pipeline.training.job import TrainJob
from pipeline.training.loop import Save, train_on_rank

Evals = Mapping[str, Mapping[str, Any]]
Best = tuple[Path, Mapping[str, Any]]


@contextlib.contextmanager
def launch(
    job: TrainJob,
    fetch: Fetch,
    evals: Evals,
    settings: ClusterSettings,
    paths: RunPaths,
    told: Callable[[], None],
) -> Iterator[Best]:
    """Train, on workers or here, going on from the newest sound checkpoint where there is one.

    Args:
        job: what to train.
        fetch: fetches a rank's training rows.
        evals: {task: {split: prepared rows}}.
        settings: workers and storage.
        paths: where records and checkpoints go.
        told: called after every chunk of records that is written in this process.

    Yields:
        (folder of the best checkpoint, what was reported with it), for as long as the context lasts.

    Raises:
        ValueError: a checkpoint of another run, or another mistake that only a worker could see.
    """
    attempt = paths.store.new_attempt()
    paths.store.clear_fragments(attempt)
    if settings.num_workers == 0:
        _train_here(job, fetch, evals, settings, paths, attempt, told)
    else:
        ray_workers.train(job, fetch, evals, settings, paths, attempt)
    with _best_intact(paths.store, lambda line: log_event(paths.run_dir, line)) as best:
        yield best


def _train_here(
    job: TrainJob,
    fetch: Fetch,
    evals: Evals,
    settings: ClusterSettings,
    paths: RunPaths,
    attempt: str,
    told: Callable[[], None],
) -> None:
    """One rank in this process: a debugger stops anywhere in it."""
    run_dir, store = paths.run_dir, paths.store
    tell_here = partial(log_event, run_dir)

    def write_checkpoint(name: str, save: Save, metrics: Mapping[str, Any]) -> None:
        with store.create(name, attempt) as folder:
            save(folder)
            seal(folder, metrics)

    def report(records: Records, save: Save | None, metrics: dict[str, Any] | None) -> None:
        write = partial(write_chunk, run_dir, [records], job.mixture.tasks)
        retry_io(write, f"writing the records of step {records.last_step}", tell_here)
        for note in records.notes:
            tell_here(note)
        if save is not None and metrics is not None:
            name = checkpoint_name(metrics["step"])
            retry_io(partial(write_checkpoint, name, save, metrics), f"storing checkpoint {name}", tell_here)
            store.prune(settings.keep_checkpoints, name)
        told()

    notes: list[str] = []
    found = store.newest_intact(last_step(run_dir), notes.append)
    with store.open_verified(found) if found else contextlib.nullcontext() as folder:
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
def _best_intact(store: CheckpointStore, tell: Callable[[str], None]) -> Iterator[Best]:
    """The checkpoint of the highest average that is what was saved."""
    for stored in sorted(store.checkpoints(), key=_by_average):
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(store.open_verified(stored))
            except (DamagedCheckpointError, OSError) as error:
                tell(f"checkpoint {stored.name} is damaged ({error}): another one stands for the best")
                continue
            yield folder, stored.metrics
            return
    raise ValueError(
        f"no sound checkpoint in {store.root}: resume the run, or start anew with --run.overwrite true"
    )


def _by_average(stored: StoredCheckpoint) -> tuple[float, int]:
    return -stored.average, stored.step
