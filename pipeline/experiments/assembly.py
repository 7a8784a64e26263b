"""What a run is made of, from its settings: the tasks, their prepared rows and the job that the ranks are told."""

from dataclasses import asdict, dataclass, replace

import pyarrow as pa
import torch

from camtl import CaMtlConfig, CaMtlModel
from camtl.backbones import check_weights, resolve_backbone
from camtl.freezing import freeze
from pipeline.config import SamplerSettings, Settings
from pipeline.data.preparation.prepare import prepare
from pipeline.data.preparation.prepared import PreparedSplit, PreparedTask, read_table
from pipeline.data.preparation.report import report_lines
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

ROUND_ROWS = 100_000_000  # a plan of so many takes 3 GB


@dataclass(frozen=True)
class Data:
    """Prepared rows of all tasks: the training splits in the order of the tasks, {task: {split: table}}."""

    train: tuple[PreparedSplit, ...]
    evals: dict[str, dict[str, pa.Table]]
    report: tuple[str, ...] = ()


def tasks_of(settings: Settings) -> tuple[Task, ...]:
    """The tasks of a run; where none is named, those of its task files, or the embedded suite.

    Raises:
        ValueError: a name that is unknown or given twice, or a mistake in a task file.
    """
    own = load_task_files(settings.data.task_files)
    return resolve_tasks(settings.data.tasks or tuple(task.name for task in own or EMBEDDED_TASKS), own)


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
    """Prepare what is not prepared yet, and read the evaluation rows."""
    prepared = prepare_data(settings, tasks)
    return Data(
        tuple(prepared[task.name].train for task in tasks),
        {task.name: {part.split: read_table(part) for part in prepared[task.name].evals} for task in tasks},
        tuple(report_lines(prepared)),
    )


def job_for(settings: Settings, tasks: tuple[Task, ...], sizes: tuple[int, ...]) -> TrainJob:
    """What the ranks are told, now that the training rows of each task are counted, [T]."""
    job = job_without_data(settings, tasks)
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
    factors = _factors(sampler, names)
    _check_shares(sampler, sum(factors) if factors else len(tasks))
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
    if pool < 1:
        raise ValueError(
            f"sampler.pool {sampler.pool} has no batch of {batch} rows to choose: give 1 or more"
        )
    if (planned := pool * batch * sampler.round_steps) > ROUND_ROWS:
        raise ValueError(
            f"sampler.round_steps {sampler.round_steps} of {pool:g} x {batch} candidates plan {planned:.3g} rows at a "
            f"time, more than {ROUND_ROWS:,}: lower it, sampler.pool or train.batch_size"
        )
    rate = optimisation.learning_rate
    return TrainJob(
        backbone=model.backbone,
        tokenizer=model.backbone,
        model=shape,
        freeze=model.freeze,
        tasks=tasks,
        mixture=Mixture(
            tasks=names,
            sizes=(),
            # Algorithm 1 draws as many candidates from every task, whatever the policy.
            policy="uniform" if per_task and by_uncertainty else sampler.policy,
            options=PolicyOptions(
                temperature=sampler.temperature,
                floor=sampler.floor,
                max_epochs=sampler.max_epochs_per_task,
                factors=factors,
            ),
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
            max_share_per_task=_share_per_task(sampler.max_share_per_task, factors),
            dropout=sampler.dropout_while_scoring,
        ),
        smoothing=sampler.smoothing,
        batch_size=batch,
        gradient_accumulation=optimisation.gradient_accumulation,
        gradient_checkpointing=optimisation.gradient_checkpointing,
        compile=optimisation.compile,
        learning_rate=rate,
        new_parameters_learning_rate=optimisation.new_parameters_learning_rate or rate,
        warmup_proportion=optimisation.warmup_proportion,
        weight_decay=optimisation.weight_decay,
        max_grad_norm=optimisation.max_grad_norm,
        precision=optimisation.precision,
        eval_every=optimisation.eval_every,
        checkpoint_every=optimisation.checkpoint_every,
        evaluate_elsewhere=optimisation.evaluate == "asynchronous",
    )


def _factors(sampler: SamplerSettings, names: tuple[str, ...]) -> tuple[float, ...] | None:
    """As how many tasks each counts, [T]; None where every one counts as one."""
    for name in sampler.task_factors:
        if name not in names:
            raise ValueError(f"sampler.task_factors: task {name!r} is not in this run{suggest(name, names)}")
    if not sampler.task_factors:
        return None
    return tuple(float(sampler.task_factors.get(name, 1.0)) for name in names)


def _share_per_task(
    share: float | None, factors: tuple[float, ...] | None
) -> float | tuple[float, ...] | None:
    """The bound of every task's share of a batch; of each task, [T], where tasks differ."""
    if share is None or factors is None:
        return share
    return tuple(min(1.0, share * factor) for factor in factors)


def _check_shares(sampler: SamplerSettings, num_tasks: float) -> None:
    most, floor = sampler.max_share_per_task, sampler.floor
    if most is not None and num_tasks * most < 1:
        raise ValueError(
            f"sampler.max_share_per_task: {most} for each of {num_tasks:g} tasks cannot fill a batch: "
            f"give {1 / num_tasks:.3g} or more"
        )
    # The default stands for "a little": of more tasks than it was made for each gets as much as there is.
    if num_tasks * floor > 1 and floor != SamplerSettings.floor:
        raise ValueError(
            f"sampler.floor: {floor} for each of {num_tasks:g} tasks is more than there is to share: "
            f"give at most {1 / num_tasks:.3g}"
        )


def check_model(job: TrainJob) -> CaMtlModel:
    """The model's shape, frozen as it will be, without memory or weights.

    Raises:
        ValueError: the backbone cannot be found, is of another family or too short for the rows, or lacks
            a layer that is to be frozen; its weights are damaged, or no model has this shape.
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
