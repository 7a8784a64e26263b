"""Assembly of a run from its settings: the tasks, their prepared rows and the training job."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa
import torch

from camtl import CaMtlConfig, CaMtlModel
from camtl.backbones import check_weights, resolve_backbone
from camtl.freezing import freeze
from pipeline.config import SamplerSettings, Settings
from pipeline.data.preparation.prepare import prepare
from pipeline.data.preparation.prepared import PreparedSplit, PreparedTask, read_table, report_lines
from pipeline.data.sources.open import open_source
from pipeline.data.task_files import load_task_files
from pipeline.errors import first_line, suggest
from pipeline.sampling.plan import Mixture
from pipeline.sampling.policies import PolicyOptions
from pipeline.tasks.base import Task
from pipeline.tasks.embedded.suite import TASKS as EMBEDDED_TASKS
from pipeline.tasks.registry import resolve_tasks
from pipeline.training.job import TrainJob
from pipeline.training.selection import Selection

ROUND_ROWS = 100_000_000  # a plan of this many rows takes 3 GB


@dataclass(frozen=True)
class Data:
    """Prepared rows of all tasks: the training splits in the order of the tasks, {task: {split: table}}."""

    train: tuple[PreparedSplit, ...]
    evals: dict[str, dict[str, pa.Table]]
    report: tuple[str, ...] = ()


def select_tasks(settings: Settings) -> tuple[Task, ...]:
    """Returns the tasks of a run: `data.tasks`, else those of its task files, else the embedded suite.

    Raises:
        ValueError: A name is unknown or listed twice, or a task file has a mistake.
    """
    file_tasks = load_task_files(settings.data.task_files)
    names = settings.data.tasks or tuple(task.name for task in file_tasks or EMBEDDED_TASKS)
    return resolve_tasks(names, file_tasks)


def prepare_data(settings: Settings, tasks: tuple[Task, ...]) -> dict[str, PreparedTask]:
    """Prepares the tasks that are not prepared yet. Ray is connected."""
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
    """Prepares the tasks that are not prepared yet, and reads the evaluation rows."""
    prepared = prepare_data(settings, tasks)
    return Data(
        tuple(prepared[task.name].train for task in tasks),
        {task.name: {part.split: read_table(part) for part in prepared[task.name].evals} for task in tasks},
        tuple(report_lines(prepared)),
    )


def build_job(settings: Settings, tasks: tuple[Task, ...], sizes: tuple[int, ...] = ()) -> TrainJob:
    """Returns the training job of `tasks`, in the order of their ids.

    `sizes` holds the training rows of each task, [T]. It is empty before the data is read; the job then has 0 steps.

    Raises:
        ValueError: Settings contradict each other or the tasks.
    """
    model, sampler, train = settings.model, settings.sampler, settings.train
    names = tuple(task.name for task in tasks)
    factors = _task_factors(sampler, names)
    _check_shares(sampler, sum(factors) if factors else len(tasks))
    shape = {name: value for name, value in asdict(model).items() if name != "freeze"}
    shape |= {
        "tasks": list(names),
        "heads": {task.name: task.head for task in tasks},
        "max_seq_length": settings.data.max_seq_length,
    }
    CaMtlConfig(**shape)  # raises if the shape contradicts itself
    workers = settings.cluster.num_workers
    most_workers = workers if isinstance(workers, int) else workers[1]
    if train.batch_size < most_workers:
        raise ValueError(
            f"train.batch_size {train.batch_size} is less than a row for each of {most_workers} workers"
        )
    by_uncertainty, per_task = sampler.select == "uncertainty", sampler.pool == "per_task"
    steps = 0
    if sizes:
        epochs = train.epochs or 0.0
        steps = train.max_steps or max(1, round(epochs * sum(sizes) / train.batch_size))
    share = sampler.max_share_per_task
    shared = {field.name for field in fields(TrainJob)} & {field.name for field in fields(train)}
    optimisation: dict[str, Any] = {name: getattr(train, name) for name in shared}
    if train.new_parameters_learning_rate is None:
        optimisation["new_parameters_learning_rate"] = train.learning_rate
    return TrainJob(
        tokenizer=model.backbone,
        backbone=model.backbone,
        model=shape,
        freeze=model.freeze,
        tasks=tasks,
        mixture=Mixture(
            tasks=names,
            sizes=sizes,
            # Algorithm 1 draws the same number of candidates from every task, whatever the policy.
            policy="uniform" if per_task and by_uncertainty else sampler.policy,
            options=PolicyOptions(
                temperature=sampler.temperature,
                floor=sampler.floor,
                max_epochs=sampler.max_epochs_per_task,
                factors=factors,
            ),
            candidates_per_step=_candidates_per_step(sampler, train.batch_size, len(tasks)),
            round_steps=sampler.round_steps,
            max_steps=steps,
            seed=settings.run.seed,
            world_size=1,
        ),
        selection=Selection(
            by_uncertainty=by_uncertainty,
            per_task_pool=per_task,
            copy_from={
                index: names.index(task.uncertainty_from) if task.uncertainty_from in names else None
                for index, task in enumerate(tasks)
                if task.head.kind == "regression"
            },
            # One bound for every task, or one for each, [T], if tasks count differently.
            max_share_per_task=share
            if share is None or factors is None
            else tuple(min(1.0, share * factor) for factor in factors),
            dropout=sampler.dropout_while_scoring,
        ),
        smoothing=sampler.smoothing,
        evaluate_elsewhere=train.evaluate == "asynchronous",
        **optimisation,
    )


def _candidates_per_step(sampler: SamplerSettings, batch_size: int, num_tasks: int) -> int:
    """Returns the candidates of a step: the pool, or the batch if every candidate is trained on."""
    pool = 1.0
    if sampler.select == "uncertainty":
        pool = num_tasks if sampler.pool == "per_task" else float(sampler.pool)
    if pool < 1:
        raise ValueError(
            f"sampler.pool {sampler.pool} has no batch of {batch_size} rows to choose: give 1 or more"
        )
    if (planned := pool * batch_size * sampler.round_steps) > ROUND_ROWS:
        raise ValueError(
            f"sampler.round_steps {sampler.round_steps} of {pool:g} x {batch_size} candidates plan {planned:.3g} "
            f"rows at a time, more than {ROUND_ROWS:,}: lower it, sampler.pool or train.batch_size"
        )
    return round(pool * batch_size)


def _task_factors(sampler: SamplerSettings, names: tuple[str, ...]) -> tuple[float, ...] | None:
    """Returns how many tasks each task counts as, [T]; None if each counts as one."""
    for name in sampler.task_factors:
        if name not in names:
            raise ValueError(f"sampler.task_factors: task {name!r} is not in this run{suggest(name, names)}")
    if not sampler.task_factors:
        return None
    return tuple(float(sampler.task_factors.get(name, 1.0)) for name in names)


def _check_shares(sampler: SamplerSettings, num_tasks: float) -> None:
    most, floor = sampler.max_share_per_task, sampler.floor
    if most is not None and num_tasks * most < 1:
        raise ValueError(
            f"sampler.max_share_per_task: {most} for each of {num_tasks:g} tasks cannot fill a batch: "
            f"give {1 / num_tasks:.3g} or more"
        )
    # The default floor is lowered to an even share if there are too many tasks for it.
    if num_tasks * floor > 1 and floor != SamplerSettings.floor:
        raise ValueError(
            f"sampler.floor: {floor} for each of {num_tasks:g} tasks is more than the candidates: "
            f"give at most {1 / num_tasks:.3g}"
        )


def check_model(job: TrainJob) -> CaMtlModel:
    """Returns the model's shape without memory or weights, with the frozen parts set.

    Raises:
        ValueError: The backbone does not exist, is of another family or too short for the rows, or lacks a layer
            that is to be frozen; its weights are damaged, or no model has this shape.
    """
    try:
        with torch.device("meta"):
            model = CaMtlModel.shaped_like(job.backbone, CaMtlConfig(**job.model))
    except (TypeError, LookupError, RuntimeError, ArithmeticError) as error:  # sizes that no layer can have
        raise ValueError(
            f"no model can be built on backbone {job.backbone!r} ({first_line(error)}): "
            "correct its config.json or the model settings"
        ) from error
    freeze(model, job.freeze)
    check_weights(job.backbone)
    return model
