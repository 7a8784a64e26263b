"""Evaluates a stored checkpoint while training continues: Ray Train's validation function."""

from collections.abc import Mapping, Sequence
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

Evals = Mapping[str, Mapping[str, Any]]  # {task: {split: prepared rows or a reference to them}}


def get_eval_sets(tasks: Sequence[str], evals: Evals) -> list[EvalSet]:
    """Returns the evaluation rows of all tasks from Ray's object store."""
    tables = {
        task: {split: ray.get(reference) for split, reference in splits.items()}
        for task, splits in evals.items()
    }
    return EvalSet.of_tables(tasks, tables)


def evaluate_checkpoint(
    checkpoint: Checkpoint, *, job: TrainJob, evals: Evals, store: CheckpointStore
) -> dict[str, Any]:
    """Predicts every evaluation row with a stored checkpoint's model and writes the scores to the run's store.

    Returns:
        {"average": float, "scores": {"average": …, "tasks": …}}.
    """
    name = Path(checkpoint.path).name
    try:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with checkpoint.as_directory() as folder:
            model = CaMtlModel.from_pretrained(Path(folder) / MODEL)
        torch.nn.Module.to(model, device)
        eval_sets = get_eval_sets(job.mixture.tasks, evals)
        predictions = predict_all(model, eval_sets, Precision.of(device, job.precision))
        assert predictions is not None  # this process is rank 0 of one
        scores = measure(job.tasks, predictions)
    except BaseException:
        store.put_scores(name, {"average": NOT_EVALUATED, "scores": None, "to_evaluate": False})
        raise
    result = {"average": scores["average"], "scores": scores}
    store.put_scores(name, result)
    return result
