"""A whole training run, as the driver sees it: settings in, run directory and MLflow run out."""

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import transformers
import yaml
from pyarrow.fs import FileSystem, FileType, LocalFileSystem

from camtl import CaMtlConfig, CaMtlModel
from camtl.backbones import resolve_backbone
from camtl.freezing import freeze
from pipeline import cluster, launch
from pipeline.config import Settings
from pipeline.evaluate import majority
from pipeline.follow import Follower
from pipeline.job import TrainJob
from pipeline.mixture import Mixture
from pipeline.prepare import PreparedTask, prepare, read_table
from pipeline.records import chunks
from pipeline.results import finish_run
from pipeline.sampler import PolicyOptions
from pipeline.scoring import Selection
from pipeline.sources import open_source
from pipeline.tasks.base import Task
from pipeline.tasks.embedded import TASKS as EMBEDDED_TASKS
from pipeline.tasks.registry import resolve
from pipeline.tracking import Tracker, check_tracking, continue_run, start_run
from pipeline.tracking_server import redact

CONFIG, RUN_ID = "config.yaml", ".mlflow_run_id"
Show = Callable[[str], None]


@dataclass(frozen=True)
class Data:
    """Prepared rows of all tasks: the training tables in the order of the tasks, {task: {split: table}}."""

    train: tuple[pa.Table, ...]
    evals: dict[str, dict[str, pa.Table]]


def train(settings: Settings, show: Show = print) -> dict[str, Any]:
    """Run a training from its settings to its results.

    Args:
        settings: with absolute paths.
        show: takes lines for a person.

    Returns:
        What `results.json` holds, and beside it `majority` (each task's scores of a constant answer).

    Raises:
        ValueError: a user's mistake, in one line; nothing was trained.
    """
    transformers.utils.logging.disable_progress_bar()
    tasks = tasks_of(settings)
    check_model(job_without_data(settings, tasks))  # wrong settings are found before anything is written
    check_run(settings)
    cluster.connect()
    if settings.cluster.num_workers != 0:
        cluster.check_resources(settings.cluster.num_workers, settings.cluster.cpus_per_worker)
    show(f"preparing {len(tasks)} tasks from {settings.data.source}")
    data = load_data(settings, tasks)
    job = job_for(settings, tasks, data)
    baseline = majority(tasks, data.train, data.evals)
    run_dir, run_id = open_run(settings)
    tracker = Tracker(settings.run.tracking_uri, run_id)
    status = "FAILED"
    try:
        rows = sum(job.mixture.sizes)
        show(
            f"training {job.mixture.max_steps} steps of {job.batch_size} rows over {rows} rows of {len(tasks)} tasks: "
            f"{run_dir}"
        )
        shown = [int(chunk.name) for chunk in chunks(run_dir)]  # of the run that is continued
        follower = Follower(
            run_dir, job.mixture.tasks, job.mixture.max_steps, tracker, show, from_step=max(shown, default=0)
        )
        with contextlib.ExitStack() as stack:
            with follower:
                best = stack.enter_context(
                    launch.launch(job, data.train, data.evals, settings.cluster, run_dir, follower.poll)
                )
            results = finish_run(run_dir, tasks, best, rows, settings.run.seed, baseline, tracker)
        status = "FINISHED"
        return {**results, "majority": baseline}
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.finish(status)


def check_model(job: TrainJob) -> None:
    """Build the model's shape, without memory or weights.

    Raises:
        ValueError: the backbone cannot be found, is of another family or too short for the rows, or lacks
            a layer that is to be frozen.
    """
    with torch.device("meta"):
        freeze(CaMtlModel.shaped_like(job.backbone, CaMtlConfig(**job.model)), job.freeze)


def check_run(settings: Settings) -> Path:
    """The run directory, where it can be had; nothing is written.

    Raises:
        ValueError: the directory exists and neither `run.resume` nor `run.overwrite` is given, there is
            nothing to resume, it cannot be written, or the tracking server does not answer.
    """
    run = settings.run
    run_dir = Path(run.output_dir) / run.name
    if run.resume is not None and not (run_dir / RUN_ID).is_file():
        raise ValueError(f"run.resume: {run_dir} is not a run directory (it has no {RUN_ID})")
    if run.resume is None and run_dir.exists() and not run.overwrite:
        raise ValueError(
            f"run directory {run_dir} exists: continue it with --run.resume {run_dir}, replace it with "
            "--run.overwrite true, or give another --run.name"
        )
    try:
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(run_dir.parent, os.W_OK):
            raise PermissionError("no permission to write")
    except OSError as error:
        raise ValueError(
            f"run.output_dir {run.output_dir} cannot be written ({error.strerror or error}): give another one"
        ) from error
    stored = _stored(settings)
    if stored is not None and run.resume is None and not run.overwrite:
        raise ValueError(
            f"cluster.storage_path {settings.cluster.storage_path} holds a run {run.name!r} already, which Ray Train "
            "would go on with: give another --run.name, or replace it with --run.overwrite true"
        )
    check_tracking(run.tracking_uri)
    return run_dir


def open_run(settings: Settings) -> tuple[Path, str]:
    """The run directory and its MLflow run, new or continued.

    Raises:
        ValueError: as `check_run` does.
    """
    run_dir, run = check_run(settings), settings.run
    if run.resume is not None:
        run_id = (run_dir / RUN_ID).read_text().strip()
        continue_run(run.tracking_uri, run_id)
        return run_dir, run_id
    parameters = asdict(settings)
    run_id = start_run(run.tracking_uri, run.experiment, run.name, parameters, {"run_dir": str(run_dir)})
    if run_dir.exists():
        shutil.rmtree(run_dir)
    if stored := _stored(settings):
        stored[0].delete_dir(stored[1])
    run_dir.mkdir()
    (run_dir / CONFIG).write_text(redact(yaml.safe_dump(_plain(parameters), sort_keys=False)))
    (run_dir / RUN_ID).write_text(run_id + "\n")
    return run_dir, run_id


def tasks_of(settings: Settings) -> tuple[Task, ...]:
    """The tasks of a run; the embedded suite where none is named.

    Raises:
        ValueError: a name that is unknown or given twice.
    """
    return resolve(settings.data.tasks or tuple(task.name for task in EMBEDDED_TASKS))


def prepare_data(settings: Settings, tasks: tuple[Task, ...]) -> dict[str, PreparedTask]:
    """Prepare what is not prepared yet; Ray is connected."""
    data = settings.data
    return prepare(
        tasks,
        open_source(data.source),
        tokenizer=resolve_backbone(settings.model.backbone),
        max_seq_length=data.max_seq_length,
        max_train_rows=data.max_train_rows,
        max_eval_rows=data.max_eval_rows,
        prepared_dir=data.prepared_dir,
    )


def load_data(settings: Settings, tasks: tuple[Task, ...]) -> Data:
    """Prepare what is not prepared yet, and read it."""
    prepared = prepare_data(settings, tasks)
    return Data(
        tuple(read_table(prepared[task.name].train) for task in tasks),
        {task.name: {part.split: read_table(part) for part in prepared[task.name].evals} for task in tasks},
    )


def job_for(settings: Settings, tasks: tuple[Task, ...], data: Data) -> TrainJob:
    """What the ranks are told, now that the tasks' sizes are known."""
    job = job_without_data(settings, tasks)
    sizes = tuple(table.num_rows for table in data.train)
    steps = settings.train.max_steps
    if steps is None:
        assert settings.train.epochs is not None
        steps = max(1, round(settings.train.epochs * sum(sizes) / settings.train.batch_size))
    return replace(job, mixture=replace(job.mixture, sizes=sizes, max_steps=steps))


def job_without_data(settings: Settings, tasks: tuple[Task, ...]) -> TrainJob:
    """The same before the data is read: sizes and steps are still 0.

    Raises:
        ValueError: settings that contradict each other or the tasks.
    """
    model, sampler, optimisation = settings.model, settings.sampler, settings.train
    names = tuple(task.name for task in tasks)
    shape = {name: value for name, value in asdict(model).items() if name not in ("backbone", "freeze")}
    shape |= {
        "tasks": list(names),
        "heads": {task.name: task.head for task in tasks},
        "max_seq_length": settings.data.max_seq_length,
        "backbone": model.backbone,
    }
    CaMtlConfig(**shape)  # raises where the shape contradicts itself
    batch = optimisation.batch_size
    workers = settings.cluster.num_workers
    most = workers if isinstance(workers, int) else workers[1]
    if batch < most:
        raise ValueError(f"train.batch_size {batch} is less than a row for each of {most} workers")
    by_uncertainty = sampler.select == "uncertainty"
    per_task = sampler.pool == "per_task"
    # Without selection every candidate is trained on, so the pool is the batch.
    pool = (len(tasks) if per_task else float(sampler.pool)) if by_uncertainty else 1.0
    rate = optimisation.learning_rate
    return TrainJob(
        backbone=resolve_backbone(model.backbone),
        tokenizer=resolve_backbone(model.backbone),
        model=shape,
        freeze=model.freeze,
        tasks=tasks,
        mixture=Mixture(
            tasks=names,
            sizes=(),
            # Algorithm 1 draws as many candidates from every task, whatever the policy.
            policy="uniform" if per_task and by_uncertainty else sampler.policy,
            options=PolicyOptions(temperature=sampler.temperature, floor=sampler.floor),
            candidates_per_step=round(pool * batch),
            round_steps=sampler.round_steps,
            max_steps=0,
            seed=settings.run.seed,
            world_size=1,
        ),
        selection=Selection(
            by_uncertainty=by_uncertainty,
            per_task_pool=per_task,
            copy_from={
                place: names.index(task.uncertainty_from) if task.uncertainty_from in names else None
                for place, task in enumerate(tasks)
                if task.head.kind == "regression"
            },
            max_share_per_task=sampler.max_share_per_task,
            dropout=sampler.dropout_while_scoring,
        ),
        smoothing=sampler.smoothing,
        batch_size=batch,
        gradient_accumulation=optimisation.gradient_accumulation,
        learning_rate=rate,
        new_parameters_learning_rate=optimisation.new_parameters_learning_rate or rate,
        warmup_proportion=optimisation.warmup_proportion,
        weight_decay=optimisation.weight_decay,
        max_grad_norm=optimisation.max_grad_norm,
        precision=optimisation.precision,
        eval_every=optimisation.eval_every,
        checkpoint_every=optimisation.checkpoint_every,
    )


def _stored(settings: Settings) -> tuple[FileSystem, str] | None:
    """Where the storage path holds checkpoints under the run's name, if it does."""
    storage_path = settings.cluster.storage_path
    if storage_path is None:
        return None
    try:
        store, folder = (
            FileSystem.from_uri(storage_path) if "://" in storage_path else (LocalFileSystem(), storage_path)
        )
        path = f"{folder.rstrip('/')}/{settings.run.name}"
        return (store, path) if store.get_file_info(path).type == FileType.Directory else None
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"cluster.storage_path {storage_path} cannot be read ({str(error).splitlines()[0]})"
        ) from error


def _plain(value: Any) -> Any:
    """Settings as YAML has them: lists for tuples."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
