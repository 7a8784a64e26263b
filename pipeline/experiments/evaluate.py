"""Scores a saved model on prepared data, with as many Ray tasks as there are workers."""

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

Evals = Mapping[str, Mapping[str, pa.Table]]


def model_folder(folder: str | Path) -> Path:
    """Returns the folder of the weights: `model/` in a run directory, or `folder` itself.

    Raises ValueError if neither contains a CA-MTL model.
    """
    for candidate in (Path(folder) / "model", Path(folder)):
        if (candidate / "config.json").is_file():
            return candidate
    raise ValueError(f"{folder} is neither a run directory with model/ nor a model folder (no config.json)")


def evaluate_model(folder: str | Path, settings: Settings) -> dict[str, Any]:
    """Scores the model of a run directory or model folder on the evaluation splits of its tasks.

    Of `settings` it uses `data` (`data.tasks`, if set, is a part of the model's tasks), `cluster` and
    `train.precision`. Returns {"average", "tasks", "majority"}: scores on the 0–100 scale.

    Raises:
        ValueError: There is no model, or a task that it was not trained on.
    """
    weights = model_folder(folder)
    config = CaMtlConfig.from_pretrained(weights)
    tasks = resolve_tasks(settings.data.tasks or config.tasks, load_task_files(settings.data.task_files))
    if untrained := [task.name for task in tasks if task.name not in config.tasks]:
        raise ValueError(
            f"{weights} was not trained on {untrained[0]!r}: its tasks are {', '.join(config.tasks)}"
        )
    settings = replace(
        settings,
        model=replace(settings.model, backbone=str(weights)),
        data=replace(settings.data, max_seq_length=config.max_seq_length),
    )
    check_data(settings, tasks)
    cluster.connect()
    data = load_data(settings, tasks)
    workers = settings.cluster.num_workers
    count = workers if isinstance(workers, int) else workers[1]
    arguments = (str(weights), config.tasks, settings.train.precision)
    if count == 0:
        shares = [_predict(*arguments, data.evals, 0, 1)]
    else:
        gpus = 1 if cluster.wants_gpu(settings.cluster.use_gpu) else 0
        task = ray.remote(num_cpus=settings.cluster.cpus_per_worker, num_gpus=gpus)(_predict)
        evals: Any = ray.put(data.evals)
        shares = ray.get([task.remote(*arguments, evals, rank, count) for rank in range(count)])
    scores = measure(tasks, merge_shares(config.tasks, EvalSet.of_tables(config.tasks, data.evals), shares))
    labels = [read_label_column(split) for split in data.train]
    return {**scores, "majority": majority(tasks, labels, data.evals)}


def write_scores(folder: str | Path, scores: Mapping[str, Any]) -> Path:
    """Writes `evaluation.json` into the folder, atomically."""
    target = Path(folder) / "evaluation.json"
    target.with_suffix(".writing").write_text(json.dumps(scores, indent=2) + "\n")
    os.replace(target.with_suffix(".writing"), target)
    return target


def _predict(weights: str, names: list[str], precision: str, evals: Evals, rank: int, count: int) -> Share:
    """Returns the predictions of rank `rank` of `count`."""
    transformers.utils.logging.disable_progress_bar()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    model: CaMtlModel = CaMtlModel.from_pretrained(weights)
    nn.Module.to(model, device)
    return predict_share(model, EvalSet.of_tables(names, evals), Precision.of(device, precision), rank, count)
