"""Scores of a stored checkpoint, while its training goes on: Ray Train's validation function."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import Checkpoint

from camtl import CaMtlModel
from pipeline.runs.checkpoints.checkpoint import MODEL, NOT_EVALUATED
from pipeline.runs.checkpoints.store import CheckpointStore
from pipeline.training.evaluation import EvalSet, measure, predict_all
from pipeline.training.job import TrainJob
from pipeline.training.scoring import Precision


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    *,
    job: TrainJob,
    evals: Mapping[str, Mapping[str, Any]],
    store: CheckpointStore,
) -> dict[str, Any]:
    """Predict every evaluation row with the checkpoint's model, and note the scores in the store.

    Args:
        checkpoint: as it was stored.
        job: what is trained.
        evals: {task: {split: reference to its prepared rows}}.
        store: of the run.

    Returns:
        {"average": float, "scores": {"average": …, "tasks": …}}.
    """
    name = Path(checkpoint.path).name
    try:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        tables = {
            task: {split: ray.get(reference) for split, reference in part.items()}
            for task, part in evals.items()
        }
        with checkpoint.as_directory() as folder:
            model = CaMtlModel.from_pretrained(Path(folder) / MODEL)
        torch.nn.Module.to(model, device)
        sets = EvalSet.of_tables(job.mixture.tasks, tables)
        predictions = predict_all(model, sets, Precision.of(device, job.precision))
        assert predictions is not None  # a task of its own is rank 0 of one
        scores = measure(job.tasks, predictions)
    except BaseException:
        store.put_scores(name, {"average": NOT_EVALUATED, "scores": None, "to_evaluate": False})
        raise
    found = {"average": scores["average"], "scores": scores}
    store.put_scores(name, found)
    return found
