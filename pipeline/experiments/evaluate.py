"""Scoring a saved model on prepared data, with as many Ray tasks as there are workers."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import torch
import transformers
from torch import nn

from camtl import CaMtlConfig, CaMtlModel
from pipeline.cluster import connection as cluster
from pipeline.config import Settings
from pipeline.data.checks import check_data
from pipeline.data.preparation.prepared import read_label_column
from pipeline.data.task_files import load_task_files
from pipeline.experiments.assembly import load_data
from pipeline.tasks.registry import resolve_tasks
from pipeline.training.evaluation import EvalSet, Share, majority, measure, merge_shares, predict_share
from pipeline.training.scoring import Precision

Evals = Mapping[str, Mapping[str, Any]]


def model_folder(folder: str | Path) -> Path:
    """The folder of the weights: `folder` itself, or `model/` in a run directory.

    Raises:
        ValueError: neither holds a CA-MTL model.
    """
    for candidate in (Path(folder) / "model", Path(folder)):
        if (candidate / "config.json").is_file():
            return candidate
    raise ValueError(
        f"{folder} is neither a run directory with model/ in it nor a model folder (no config.json)"
    )


def evaluate_model(folder: str | Path, settings: Settings) -> dict[str, Any]:
    """Score a saved model on the evaluation splits of its tasks.

    Args:
        folder: run directory or model folder.
        settings: `data` says where the rows are (its `tasks`, where given, are a part of the model's);
            `cluster` says on how many workers; `train.precision` the arithmetic.

    Returns:
        {"average", "tasks", "majority"}: scores on the scale 0–100.

    Raises:
        ValueError: no model, or tasks that it was not trained on.
    """
    weights = model_folder(folder)
    config = CaMtlConfig.from_pretrained(weights)
    tasks = resolve_tasks(settings.data.tasks or config.tasks, load_task_files(settings.data.task_files))
    if strange := [task.name for task in tasks if task.name not in config.tasks]:
        raise ValueError(
            f"{weights} was not trained on {strange[0]!r}: its tasks are {', '.join(config.tasks)}"
        )
    of_model = replace(
        settings,
        model=replace(settings.model, backbone=str(weights)),
        data=replace(settings.data, max_seq_length=config.max_seq_length),
    )
    check_data(of_model, tasks)
    cluster.connect()
    data = load_data(of_model, tasks)
    evals: Evals = {name: data.evals[name] for name in (task.name for task in tasks)}
    workers = settings.cluster.num_workers
    count = workers if isinstance(workers, int) else workers[1]
    arguments = (str(weights), config.tasks, settings.train.precision)
    if count == 0:
        shares = [_share(*arguments, evals, 0, 1)]
    else:
        gpus = 1 if cluster.wants_gpu(settings.cluster.use_gpu) else 0
        task = ray.remote(num_cpus=settings.cluster.cpus_per_worker, num_gpus=gpus)(_share)
        held: Any = ray.put(evals)
        shares = ray.get([task.remote(*arguments, held, rank, count) for rank in range(count)])
    scores = measure(tasks, merge_shares(config.tasks, EvalSet.of_tables(config.tasks, evals), shares))
    return {**scores, "majority": majority(tasks, [read_label_column(split) for split in data.train], evals)}


def write_scores(folder: str | Path, scores: Mapping[str, Any]) -> Path:
    """Write `evaluation.json` into the folder, whole or not at all."""
    target = Path(folder) / "evaluation.json"
    target.with_suffix(".writing").write_text(json.dumps(scores, indent=2) + "\n")
    os.replace(target.with_suffix(".writing"), target)
    return target


def _share(
    weights: str,
    names: list[str],
    precision: str,
    evals: Mapping[str, Mapping[str, pa.Table]],
    rank: int,
    count: int,
) -> Share:
    transformers.utils.logging.disable_progress_bar()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    model: CaMtlModel = CaMtlModel.from_pretrained(weights)
    nn.Module.to(model, device)
    return predict_share(model, EvalSet.of_tables(names, evals), Precision.of(device, precision), rank, count)
