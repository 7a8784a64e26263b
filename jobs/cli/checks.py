"""Rules for values that their types allow; what needs data or a model is checked where it is used."""

import re
from collections.abc import Callable
from math import inf
from typing import Any

from pipeline.config import Settings

Rule = tuple[Callable[[Any], bool], str]
POSITIVE: Rule = (lambda value: 0 < value < inf, "more than 0")
COUNT: Rule = (lambda value: 0 < value < 2**31, "more than 0 and less than 2**31")
AT_LEAST_0: Rule = (lambda value: 0 <= value < inf, "0 or more")
SHARE: Rule = (lambda value: 0 < value <= 1, "more than 0 and at most 1")
BELOW_1: Rule = (lambda value: 0 <= value < 1, "at least 0 and below 1")
TEXT: Rule = (lambda value: bool(value.strip()), "something; it is empty")
FOLDER: Rule = (
    lambda value: bool(value.strip()) and "://" not in value,
    "a folder; a bucket goes into cluster.storage_path",
)
STORAGE: Rule = (
    lambda value: bool(value.strip()) and re.match(r"\w+:/(?!/.)", value) is None,
    "a folder, or an address such as s3://bucket/folder",
)
TRACKING: Rule = (
    lambda value: "://" in value or value.startswith("databricks"),
    "an address such as sqlite:///mlflow.db or http://host:5000",
)
RUN_NAME: Rule = (  # 200 letters: with the time in it, still a name that a file system takes
    lambda value: re.fullmatch(r"(?!\.)([\w.+=-]|\{variant\}|\{time\}){1,200}", value) is not None,
    "a plain folder name; {variant} and {time} are filled in",
)

RULES: dict[str, Rule] = {
    "run.name": RUN_NAME,
    "run.output_dir": FOLDER,
    "run.seed": (lambda value: 0 <= value < 2**32, "from 0 to 2**32 - 1"),
    "run.seeds": (
        lambda value: all(0 <= seed < 2**32 for seed in value) and len(set(value)) == len(value),
        "different seeds, each from 0 to 2**32 - 1",
    ),
    "run.resume": TEXT,
    "run.tracking_uri": TRACKING,
    "run.experiment": TEXT,
    "data.source": TEXT,
    "data.task_files": (
        lambda value: all(path.endswith((".yaml", ".yml")) for path in value),
        "a list of YAML files, each ending in .yaml or .yml",
    ),
    "data.max_seq_length": (lambda value: value >= 8, "8 tokens or more"),
    "data.max_train_rows": COUNT,
    "data.max_eval_rows": COUNT,
    "data.prepared_dir": FOLDER,
    "data.in_memory_bytes": (lambda value: 0 <= value < 2**63, "0 or more and less than 2**63"),
    "model.backbone": TEXT,
    "model.freeze": (
        lambda value: re.fullmatch(r"none|embeddings|bottom_half|top_half|all|\d+-\d+", value) is not None,
        "none, embeddings, bottom_half, top_half, all or a range of layers such as 0-2",
    ),
    "model.task_embedding_size": COUNT,
    "model.bottleneck_reduction": COUNT,
    "model.attention_blocks": COUNT,
    "model.dropout": BELOW_1,
    "sampler.pool": (lambda value: value == "per_task" or 1 <= value < inf, "per_task or a number from 1"),
    "sampler.round_steps": COUNT,
    "sampler.temperature": POSITIVE,
    "sampler.smoothing": BELOW_1,
    "sampler.floor": BELOW_1,
    "sampler.max_epochs_per_task": POSITIVE,
    "sampler.max_share_per_task": SHARE,
    "sampler.task_factors": (
        lambda value: all(0 < factor < inf for factor in value.values()),
        "numbers above 0, by the names of tasks",
    ),
    "train.batch_size": COUNT,
    "train.max_steps": COUNT,
    "train.epochs": COUNT,
    "train.learning_rate": POSITIVE,
    "train.new_parameters_learning_rate": POSITIVE,
    "train.warmup_proportion": BELOW_1,
    "train.weight_decay": AT_LEAST_0,
    "train.max_grad_norm": POSITIVE,
    "train.eval_every": COUNT,
    "train.checkpoint_every": COUNT,
    "train.gradient_accumulation": COUNT,
    "cluster.num_workers": (
        lambda value: value >= 0 if isinstance(value, int) else 1 <= value[0] <= value[1],
        "0 or more, or [min, max] with 1 <= min <= max",
    ),
    "cluster.cpus_per_worker": POSITIVE,
    "cluster.storage_path": STORAGE,
    "cluster.max_failures": (lambda value: value >= -1, "-1 or more"),
    "cluster.keep_checkpoints": COUNT,
    "cluster.hang_timeout": POSITIVE,
}


def check(settings: Settings) -> None:
    """Checks every value, and values that depend on each other.

    Raises:
        ValueError: Names the first wrong setting as on the command line, and what it must be.
    """
    for name, (holds, expected) in RULES.items():
        section, field = name.split(".")
        value = getattr(getattr(settings, section), field)
        shown = list(value) if isinstance(value, tuple) else value
        if value is not None and not holds(value):
            raise ValueError(f"{name}: {shown!r} must be {expected}")
        texts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise ValueError(f"{name}: {shown!r} contains a null character")
    if mistake := _contradiction(settings):
        raise ValueError(mistake)


def credentials_in(address: str) -> str:
    """An error text for a storage address that contains credentials; empty for any other."""
    match = re.match(r"(\w+://)[^/]*@", address)
    if match is None:
        return ""
    return (
        f"{match[1]}***@... contains a user or a password, which files and logs would show: "
        "set them in the environment (for s3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
    )


def _contradiction(settings: Settings) -> str:
    """An error text for values that contradict each other; empty for others."""
    run, sampler, train, cluster = settings.run, settings.sampler, settings.train, settings.cluster
    workers = cluster.num_workers if isinstance(cluster.num_workers, int) else cluster.num_workers[1]
    micro_batches = train.gradient_accumulation * max(1, workers)
    if run.resume is not None and run.overwrite:
        return "run.resume and run.overwrite are both set: a run is either resumed or replaced"
    if sampler.select == "none" and sampler.pool != 1:
        return (
            f"sampler.select: 'none' trains on every candidate and needs --sampler.pool 1, not {sampler.pool}"
        )
    if train.max_steps is not None and train.epochs is not None:
        remedy = "set one of them (--train.max_steps null unsets the steps)"
        return f"train.max_steps and train.epochs are both set: {remedy}"
    if train.batch_size < micro_batches:
        return (
            f"train.batch_size: {train.batch_size} rows leave some of the {micro_batches} micro-batches "
            "(workers x gradient_accumulation) empty"
        )
    for name, address in (("cluster.storage_path", cluster.storage_path), ("run.resume", run.resume)):
        if mistake := credentials_in(address or ""):
            return f"{name}: {mistake}"
    if workers == 0 and train.evaluate == "asynchronous":
        return "train.evaluate: 'asynchronous' needs workers, and cluster.num_workers is 0: give 1 or more, or 'inline'"
    if not isinstance(cluster.num_workers, int) and cluster.cpus_per_worker % 1:
        return (
            f"cluster.cpus_per_worker: {cluster.cpus_per_worker} with num_workers as [min, max]; "
            "elastic workers need whole CPUs"
        )
    return ""
