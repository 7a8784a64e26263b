"""Checks of values that the types let through; whatever needs data or a model is checked where it is used."""

import re
from collections.abc import Callable
from math import inf
from typing import Any

from pipeline.config import Settings
from pipeline.tasks.groups import expand

Rule = tuple[Callable[[Any], bool], str]
POSITIVE: Rule = (lambda value: 0 < value < inf, "more than 0")
AT_LEAST_0: Rule = (lambda value: 0 <= value < inf, "0 or more")
SHARE: Rule = (lambda value: 0 < value <= 1, "more than 0 and at most 1")
BELOW_1: Rule = (lambda value: 0 <= value < 1, "at least 0 and below 1")
TEXT: Rule = (lambda value: bool(value.strip()), "something; it is empty")
FOLDER: Rule = (
    lambda value: bool(value.strip()) and "://" not in value,
    "a folder; a bucket goes into cluster.storage_path",
)

RULES: dict[str, Rule] = {
    "run.name": (lambda value: re.fullmatch(r"(?!\.)[\w.{}+=-]+", value) is not None, "a plain folder name"),
    "run.output_dir": FOLDER,
    "run.seed": (lambda value: 0 <= value < 2**32, "from 0 to 2**32 - 1"),
    "run.resume": FOLDER,
    "run.tracking_uri": TEXT,
    "run.experiment": TEXT,
    "data.source": TEXT,
    "data.task_files": (
        lambda value: all(path.endswith((".yaml", ".yml")) for path in value),
        "a list of YAML files, each ending in .yaml or .yml",
    ),
    "data.max_seq_length": (lambda value: value >= 8, "8 tokens or more"),
    "data.max_train_rows": POSITIVE,
    "data.max_eval_rows": POSITIVE,
    "data.prepared_dir": FOLDER,
    "data.in_memory_bytes": AT_LEAST_0,
    "model.backbone": TEXT,
    "model.freeze": (
        lambda value: re.fullmatch(r"none|embeddings|bottom_half|all|\d+-\d+", value) is not None,
        "none, embeddings, bottom_half, all or a range of layers such as 0-2",
    ),
    "model.task_embedding_size": POSITIVE,
    "model.bottleneck_reduction": POSITIVE,
    "model.attention_blocks": POSITIVE,
    "model.dropout": BELOW_1,
    "sampler.pool": (lambda value: value == "per_task" or 1 <= value < inf, "per_task or a number from 1"),
    "sampler.round_steps": POSITIVE,
    "sampler.temperature": POSITIVE,
    "sampler.smoothing": BELOW_1,
    "sampler.floor": BELOW_1,
    "sampler.max_epochs_per_task": POSITIVE,
    "sampler.max_share_per_task": SHARE,
    "train.batch_size": POSITIVE,
    "train.max_steps": POSITIVE,
    "train.epochs": POSITIVE,
    "train.learning_rate": POSITIVE,
    "train.new_parameters_learning_rate": POSITIVE,
    "train.warmup_proportion": BELOW_1,
    "train.weight_decay": AT_LEAST_0,
    "train.max_grad_norm": POSITIVE,
    "train.eval_every": POSITIVE,
    "train.checkpoint_every": POSITIVE,
    "train.gradient_accumulation": POSITIVE,
    "cluster.num_workers": (
        lambda value: value >= 0 if isinstance(value, int) else 1 <= value[0] <= value[1],
        "0 or more, or [min, max] with 1 <= min <= max",
    ),
    "cluster.cpus_per_worker": POSITIVE,
    "cluster.storage_path": TEXT,
    "cluster.max_failures": (lambda value: value >= -1, "-1 or more"),
}


def check(settings: Settings) -> None:
    """Holds every value and the combinations of values against the rules.

    Raises:
        ValueError: The first setting that is wrong, by its name on the command line, and what it should be.
    """
    for name, (holds, expected) in RULES.items():
        section, field = name.split(".")
        value = getattr(getattr(settings, section), field)
        if value is not None and not holds(value):
            shown = list(value) if isinstance(value, tuple) else value
            raise ValueError(f"{name}: {shown!r} has to be {expected}")
    for combination in (_check_run, _check_sampler, _check_train, _check_cluster):
        combination(settings)


def _check_run(settings: Settings) -> None:
    if settings.run.resume is not None and settings.run.overwrite:
        raise ValueError("run.resume and run.overwrite are both set: a run is either continued or replaced")


def _check_sampler(settings: Settings) -> None:
    sampler, num_tasks = settings.sampler, len(expand(settings.data.tasks))
    if sampler.select == "none" and sampler.pool != 1:
        raise ValueError(
            f"sampler.select: 'none' trains on every candidate and needs --sampler.pool 1, not {sampler.pool}"
        )
    if sampler.max_share_per_task is not None and 0 < num_tasks * sampler.max_share_per_task < 1:
        raise ValueError(
            f"sampler.max_share_per_task: {sampler.max_share_per_task} for each of {num_tasks} tasks "
            "cannot fill a batch"
        )


def _check_train(settings: Settings) -> None:
    train, workers = settings.train, settings.cluster.num_workers
    if train.max_steps is not None and train.epochs is not None:
        raise ValueError(
            "train.max_steps and train.epochs are both set: keep one (--train.max_steps null drops the steps)"
        )
    micro_batches = train.gradient_accumulation * max(1, workers if isinstance(workers, int) else workers[1])
    if train.batch_size < micro_batches:
        raise ValueError(
            f"train.batch_size: {train.batch_size} rows leave some of the {micro_batches} micro-batches "
            "(workers x gradient_accumulation) empty"
        )


def _check_cluster(settings: Settings) -> None:
    cluster = settings.cluster
    if not isinstance(cluster.num_workers, int) and cluster.cpus_per_worker % 1:
        raise ValueError(
            f"cluster.cpus_per_worker: {cluster.cpus_per_worker} with num_workers as [min, max]; "
            "elastic workers need whole CPUs"
        )
