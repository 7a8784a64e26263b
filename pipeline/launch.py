"""Starting the ranks of a training job: Ray Train's workers, or this process alone."""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import transformers
from ray.train import Checkpoint, UserCallback
from ray.train.torch import TorchTrainer, get_device
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import WorkerGroupError

from pipeline import cluster
from pipeline.config import ClusterSettings
from pipeline.evaluate import EvalSet
from pipeline.feed import Feed
from pipeline.job import TrainJob
from pipeline.loop import train_on_rank
from pipeline.mixture import configure_ray_data
from pipeline.records import Records, write_chunk

CHECKPOINTS, METRICS = "checkpoints", "metrics.json"
KEEP = 2  # best and latest; Ray Train keeps the latest in any case
Evals = Mapping[str, Mapping[str, Any]]
Best = tuple[Path, dict[str, Any]]


@contextlib.contextmanager
def launch(
    job: TrainJob,
    feed: Feed,
    evals: Evals,
    settings: ClusterSettings,
    run_dir: Path,
    told: Callable[[], None],
) -> Iterator[Best]:
    """Train, on workers or here, going on from the run directory's last checkpoint where it has one.

    Args:
        job: what to train.
        feed: called on every rank, gives what fetches its training rows.
        evals: {task: {split: prepared rows}}.
        settings: workers and storage.
        run_dir: gets records and, unless there is a `storage_path`, checkpoints.
        told: called after every chunk of records that is written in this process.

    Yields:
        (folder of the best checkpoint, what was reported with it), for as long as the context lasts.

    Raises:
        ValueError: a checkpoint of another run, or another mistake that only a worker could see.
    """
    if settings.num_workers == 0:
        yield _train_here(job, feed, evals, run_dir, told)
        return
    checkpoint, metrics = _train_on_workers(job, feed, evals, settings, run_dir)
    with checkpoint.as_directory() as folder:
        yield Path(folder), metrics


def _train_here(job: TrainJob, feed: Feed, evals: Evals, run_dir: Path, told: Callable[[], None]) -> Best:
    """One rank in this process: a debugger stops anywhere in it."""
    folder = run_dir / CHECKPOINTS
    folder.mkdir(exist_ok=True)
    saved: list[Best] = [
        (place, json.loads((place / METRICS).read_text())) for place in sorted(folder.glob("step-*[0-9]"))
    ]

    def report(records: Records, checkpoint: Path | None, metrics: dict[str, Any] | None) -> None:
        write_chunk(run_dir, [records], job.mixture.tasks)
        if checkpoint is not None and metrics is not None:
            place = folder / f"step-{metrics['step']:09d}"
            writing = place.with_suffix(".writing")
            shutil.rmtree(writing, ignore_errors=True)
            shutil.copytree(checkpoint, writing)
            (writing / METRICS).write_text(json.dumps(metrics))
            os.replace(writing, place)
            saved.append((place, metrics))
            best = _best(saved)
            for old in [found for found in saved[:-1] if found is not best]:
                shutil.rmtree(old[0])
                saved.remove(old)
        told()

    train_on_rank(
        job,
        fetch=feed(),
        eval_sets=EvalSet.of_tables(job.mixture.tasks, evals),
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        report=report,
        resume_from=saved[-1][0] if saved else None,
    )
    return _best(saved)


def _best(saved: Sequence[tuple[Any, dict[str, Any]]]) -> tuple[Any, dict[str, Any]]:
    return max(saved, key=lambda found: float(found[1]["average"]))


def _train_on_workers(
    job: TrainJob, feed: Feed, evals: Evals, settings: ClusterSettings, run_dir: Path
) -> tuple[Checkpoint, dict[str, Any]]:
    use_gpu = cluster.wants_gpu(settings.use_gpu)
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "job": job,
            "feed": feed,
            "evals": {
                task: {split: ray.put(table) for split, table in part.items()} for task, part in evals.items()
            },
        },
        scaling_config=ScalingConfig(
            num_workers=settings.num_workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": settings.cpus_per_worker, **({"GPU": 1} if use_gpu else {})},
        ),
        run_config=RunConfig(  # type: ignore[arg-type]  # Train V2's own; the stub still names V1's
            name=run_dir.name if settings.storage_path else CHECKPOINTS,
            storage_path=settings.storage_path or str(run_dir),
            failure_config=FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=KEEP, checkpoint_score_attribute="average"),
            callbacks=[WriteRecords(str(run_dir), job.mixture.tasks)],
        ),
    )
    try:
        result = trainer.fit()
    except WorkerGroupError as error:
        causes = [getattr(failure, "cause", failure) for failure in error.worker_failures.values()]
        mistakes = [cause for cause in causes if isinstance(cause, ValueError)]
        if mistakes:
            raise ValueError(str(mistakes[0])) from error
        raise
    return _best(result.best_checkpoints or [])


class WriteRecords(UserCallback):
    """Runs in Ray Train's controller, on the driver's node: what the ranks report becomes a chunk."""

    def __init__(self, run_dir: str, tasks: Sequence[str]) -> None:
        self._run_dir = run_dir
        self._tasks = tuple(tasks)

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Called when every rank has reported."""
        if all("records" in reported for reported in metrics):
            write_chunk(self._run_dir, [reported["records"] for reported in metrics], self._tasks)


def _worker(config: dict[str, Any]) -> None:
    """What runs on every Ray Train worker."""
    configure_ray_data()
    logging.disable(logging.INFO)  # Ray Train would print every report in full
    transformers.utils.logging.disable_progress_bar()
    context = ray.train.get_context()
    device = get_device()
    if device.type == "cpu":  # Ray gives a worker of half a CPU one thread; the cores of its node are there
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // context.get_local_world_size()))

    def report(records: Records, checkpoint: Path | None, metrics: dict[str, Any] | None) -> None:
        ray.train.report({"records": records})
        if metrics is not None:
            ray.train.report(metrics, checkpoint=checkpoint and Checkpoint.from_directory(str(checkpoint)))

    evals = {
        task: {split: ray.get(ref) for split, ref in part.items()} for task, part in config["evals"].items()
    }
    with contextlib.ExitStack() as stack:
        last = ray.train.get_checkpoint()
        train_on_rank(
            config["job"],
            fetch=config["feed"](),
            eval_sets=EvalSet.of_tables(config["job"].mixture.tasks, evals),
            device=device,
            report=report,
            resume_from=Path(stack.enter_context(last.as_directory())) if last else None,
        )
