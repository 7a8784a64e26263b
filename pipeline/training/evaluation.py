"""Evaluation: predicts every evaluation row of every task once, split among the ranks; rank 0 computes metrics."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from camtl import CaMtlModel, TokenRows
from pipeline.sampling.batches import to_token_rows
from pipeline.tasks.base import Task
from pipeline.tasks.decoding import Prediction, decode
from pipeline.tasks.metrics.scores import Reference, SplitPredictions, average, majority_metrics, task_metrics
from pipeline.training.distributed import gather_objects, rank, world_size
from pipeline.training.scoring import Precision, predict

BATCH_ROWS = 128
Share = dict[tuple[int, int], Prediction]  # {(index of the set, row): prediction}: what one rank predicts
Predictions = dict[str, dict[str, SplitPredictions]]


@dataclass(frozen=True)
class EvalSet:
    """One evaluation split: task id, name of the split, prepared rows, and the reference of each row."""

    task: int
    split: str
    rows: TokenRows
    references: list[Reference] = field(repr=False)

    @staticmethod
    def of_tables(tasks: Sequence[str], evals: Mapping[str, Mapping[str, pa.Table]]) -> "list[EvalSet]":
        """Every split of {task: {split: prepared table}}; the ids are indices in `tasks`."""
        sets = []
        for name, splits in evals.items():
            task = list(tasks).index(name)
            for split, table in splits.items():
                rows = to_token_rows(table.append_column("task", pa.array([task] * table.num_rows)))
                sets.append(EvalSet(task, split, rows, references(table)))
        return sets


def references(table: pa.Table) -> list[Reference]:
    """The label of each row of a prepared table, and the fields of its `reference`."""
    columns = zip(table["label"].to_pylist(), table["reference"].to_pylist(), strict=True)
    return [{"label": label, **json.loads(reference or "{}")} for label, reference in columns]


def predict_all(model: CaMtlModel, sets: Sequence[EvalSet], precision: Precision) -> Predictions | None:
    """Predicts every row of every set in evaluation mode, split among the ranks; all pass the same sets.

    Returns:
        On rank 0 {task: {split: (predictions, references)}} in the sets' order of rows; None elsewhere.
    """
    shares = gather_objects(predict_share(model, sets, precision, rank(), world_size()))
    return None if shares is None else merge_shares(model.config.tasks, sets, shares)


def predict_share(
    model: CaMtlModel, sets: Sequence[EvalSet], precision: Precision, rank: int, world_size: int
) -> Share:
    """Predicts rows `rank`, `rank` + `world_size`, … of every set."""
    model.eval()
    numbers = [np.arange(rank, len(part.rows), world_size) for part in sets]
    rows = [part.rows.take(rows) for part, rows in zip(sets, numbers, strict=True)]
    outputs = iter(predict(model, TokenRows.concatenate(rows), precision, batch_rows=BATCH_ROWS))
    share: Share = {}
    for index, part in enumerate(sets):
        spec = model.head(part.task).spec
        for row in numbers[index].tolist():
            arrays = next(outputs)
            share[index, row] = decode(
                spec.kind,
                arrays if spec.kind == "span" else arrays[0],
                part.references[row],
                label_names=spec.label_names,
                null_threshold=spec.null_threshold,
            )
    return share


def merge_shares(tasks: Sequence[str], sets: Sequence[EvalSet], shares: Sequence[Share]) -> Predictions:
    """Merges the ranks' shares into {task: {split: (predictions, references)}}, in the sets' order of rows.

    Raises:
        RuntimeError: a row was predicted twice or not at all.
    """
    counts = Counter(key for share in shares for key in share)
    merged = {key: prediction for share in shares for key, prediction in share.items()}
    predictions: Predictions = {}
    for index, part in enumerate(sets):
        keys = [(index, row) for row in range(len(part.rows))]
        if any(counts[key] != 1 for key in keys):
            raise RuntimeError(
                f"split {part.split!r} of {tasks[part.task]!r}: a row was predicted twice or not at all"
            )
        answers = ([merged[key] for key in keys], part.references)
        predictions.setdefault(tasks[part.task], {})[part.split] = answers
    return predictions


def measure(tasks: Sequence[Task], predictions: Predictions) -> dict[str, Any]:
    """Official metrics: {"average": float, "tasks": {name: {metric: value}}}, on the scale 0–100."""
    scores = {task.name: task_metrics(task, predictions[task.name]) for task in tasks}
    return {"average": average(scores), "tasks": scores}


def majority(
    tasks: Sequence[Task], train: Sequence[pa.Table], evals: Mapping[str, Mapping[str, pa.Table]]
) -> dict[str, dict[str, float]]:
    """Metrics of the best constant answer of each task, {task: {metric: value}}."""
    return {
        task.name: majority_metrics(
            task,
            table["label"].to_numpy(),
            {split: references(rows) for split, rows in evals[task.name].items()},
        )
        for task, table in zip(tasks, train, strict=True)
    }
