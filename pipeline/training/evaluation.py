"""Every evaluation row of every task predicted once, shared among the ranks, and measured on rank 0."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from camtl import CaMtlModel, TokenRows
from pipeline.sampling.batches import token_rows
from pipeline.tasks.base import Task
from pipeline.tasks.decoding import Prediction, decode
from pipeline.tasks.metrics.scores import Answers, Reference, average, majority_metrics, task_metrics
from pipeline.training.distributed import gather_objects, rank, world_size
from pipeline.training.scoring import Precision, predict

BATCH_ROWS = 128
Share = dict[int, dict[int, Prediction]]  # {set: {row: prediction}}
Predictions = dict[str, dict[str, Answers]]


@dataclass(frozen=True)
class EvalSet:
    """One evaluation split: the task's id, the split's name, its prepared rows, what is known of each."""

    task: int
    split: str
    rows: TokenRows
    references: list[Reference] = field(repr=False)

    @staticmethod
    def of_tables(tasks: Sequence[str], evals: Mapping[str, Mapping[str, pa.Table]]) -> "list[EvalSet]":
        """Every split of {task: {split: prepared table}}; ids are places in `tasks`."""
        return [
            EvalSet.from_table(list(tasks).index(task), split, table)
            for task, splits in evals.items()
            for split, table in splits.items()
        ]

    @staticmethod
    def from_table(task: int, split: str, table: pa.Table) -> "EvalSet":
        """The rows of a prepared table."""
        rows = token_rows(table.append_column("task", pa.array([task] * table.num_rows)))
        return EvalSet(task, split, rows, references(table))


def references(table: pa.Table) -> list[Reference]:
    """What is known of each row of a prepared table: its label, and what its `reference` tells."""
    told = zip(table["label"].to_pylist(), table["reference"].to_pylist(), strict=True)
    return [{"label": label, **json.loads(reference or "{}")} for label, reference in told]


def predict_all(model: CaMtlModel, sets: Sequence[EvalSet], precision: Precision) -> Predictions | None:
    """Predictions for every row of every set, shared out among the ranks of the process group.

    Args:
        model: the model; put into evaluation mode.
        sets: the same on every rank.
        precision: device and number format.

    Returns:
        On rank 0 {task: {split: (predictions, references)}} in the sets' order of rows; None elsewhere.
    """
    gathered = gather_objects(predict_share(model, sets, precision, rank(), world_size()))
    return None if gathered is None else merge_shares(model.config.tasks, sets, gathered)


def predict_share(
    model: CaMtlModel, sets: Sequence[EvalSet], precision: Precision, rank: int, world_size: int
) -> Share:
    """Predictions for every `world_size`-th row of every set, from row `rank` on: {set: {row: prediction}}."""
    model.eval()
    own = [np.arange(rank, len(part.rows), world_size) for part in sets]
    rows = TokenRows.concatenate([part.rows.take(numbers) for part, numbers in zip(sets, own, strict=True)])
    outputs = iter(predict(model, rows, precision, batch_rows=BATCH_ROWS))
    share: Share = {}
    for index, (part, numbers) in enumerate(zip(sets, own, strict=True)):
        spec = model.head(part.task).spec
        share[index] = {}
        for row in numbers.tolist():
            given = next(outputs)
            share[index][row] = decode(
                spec.kind,
                given if spec.kind == "span" else given[0],
                part.references[row],
                label_names=spec.label_names,
                null_threshold=spec.null_threshold,
            )
    return share


def merge_shares(tasks: Sequence[str], sets: Sequence[EvalSet], shares: Sequence[Share]) -> Predictions:
    """The ranks' shares as {task: {split: (predictions, references)}}, in the sets' order of rows.

    Raises:
        RuntimeError: a row was predicted twice or not at all.
    """
    predictions: Predictions = {}
    for index, part in enumerate(sets):
        found = sorted((row, given) for share in shares for row, given in share.get(index, {}).items())
        if [row for row, _ in found] != list(range(len(part.rows))):
            raise RuntimeError(
                f"split {part.split!r} of {tasks[part.task]!r}: a row was scored twice or not at all"
            )
        answers = ([given for _, given in found], part.references)
        predictions.setdefault(tasks[part.task], {})[part.split] = answers
    return predictions


def measure(tasks: Sequence[Task], predictions: Predictions) -> dict[str, Any]:
    """Official metrics: {"average": float, "tasks": {name: {metric: value}}}, on the scale 0–100."""
    scores = {task.name: task_metrics(task, predictions[task.name]) for task in tasks}
    return {"average": average(scores), "tasks": scores}


def majority(
    tasks: Sequence[Task], train: Sequence[pa.Table], evals: Mapping[str, Mapping[str, pa.Table]]
) -> dict[str, dict[str, float]]:
    """What the best constant answer of each task would score, {task: {metric: value}}."""
    return {
        task.name: majority_metrics(
            task,
            table["label"].to_numpy(),
            {split: references(rows) for split, rows in evals[task.name].items()},
        )
        for task, table in zip(tasks, train, strict=True)
    }
