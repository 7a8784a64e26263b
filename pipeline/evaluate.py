"""Every evaluation row of every task scored once, shared among the ranks, and measured on rank 0."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from camtl import CaMtlModel, TokenRows
from pipeline.distributed import gather_objects, rank, world_size
from pipeline.mixture import token_rows
from pipeline.scoring import Arithmetic, predict
from pipeline.tasks.base import Task
from pipeline.tasks.metrics import average, majority_metrics, task_metrics

BATCH_ROWS = 128
Outputs = list[NDArray[np.float32]]  # what a head gives for a row, an array for each part of it
Share = dict[int, dict[int, Outputs]]  # {set: {row: outputs}}
Predictions = dict[str, dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]]


@dataclass(frozen=True)
class EvalSet:
    """One evaluation split: the task's id, the split's name, its prepared rows."""

    task: int
    split: str
    rows: TokenRows

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
        return EvalSet(
            task, split, token_rows(table.append_column("task", pa.array([task] * table.num_rows)))
        )


def predict_all(model: CaMtlModel, sets: Sequence[EvalSet], arithmetic: Arithmetic) -> Predictions | None:
    """Logits of every row of every set, shared out among the ranks of the process group.

    Args:
        model: the model; put into evaluation mode.
        sets: the same on every rank.
        arithmetic: device and precision.

    Returns:
        On rank 0 {task: {split: (logits [n, labels], labels [n])}} in the sets' order of rows; None elsewhere.
    """
    gathered = gather_objects(predict_share(model, sets, arithmetic, rank(), world_size()))
    return None if gathered is None else merge_shares(model.config.tasks, sets, gathered)


def predict_share(
    model: CaMtlModel, sets: Sequence[EvalSet], arithmetic: Arithmetic, rank: int, world_size: int
) -> Share:
    """Outputs of every `world_size`-th row of every set, from row `rank` on: {set: {row: outputs}}."""
    model.eval()
    own = [np.arange(rank, len(part.rows), world_size) for part in sets]
    rows = TokenRows.concatenate([part.rows.take(numbers) for part, numbers in zip(sets, own, strict=True)])
    outputs = iter(predict(model, rows, arithmetic, batch_rows=BATCH_ROWS))
    return {index: {int(row): next(outputs) for row in numbers} for index, numbers in enumerate(own)}


def merge_shares(tasks: Sequence[str], sets: Sequence[EvalSet], shares: Sequence[Share]) -> Predictions:
    """The ranks' shares as {task: {split: (logits, labels)}}, in the sets' order of rows.

    Raises:
        RuntimeError: a row was scored twice or not at all.
    """
    predictions: Predictions = {}
    for index, part in enumerate(sets):
        scored = [row for share in shares for row in share.get(index, {})]
        if sorted(scored) != list(range(len(part.rows))):
            raise RuntimeError(
                f"split {part.split!r} of {tasks[part.task]!r}: a row was scored twice or not at all"
            )
        outputs = {row: found for share in shares for row, found in share.get(index, {}).items()}
        logits = np.stack([outputs[row][0] for row in range(len(part.rows))])
        predictions.setdefault(tasks[part.task], {})[part.split] = (logits, part.rows.labels)
    return predictions


def measure(tasks: Sequence[Task], predictions: Predictions) -> dict[str, Any]:
    """Official metrics: {"average": float, "tasks": {name: {metric: value}}}, on the scale 0–100."""
    scores = {task.name: task_metrics(task, predictions[task.name]) for task in tasks}
    return {"average": average(scores), "tasks": scores}


def majority(
    tasks: Sequence[Task], train: Sequence[pa.Table], evals: Mapping[str, Mapping[str, pa.Table]]
) -> dict[str, dict[str, float]]:
    """What the best constant answer of each task would score, {task: {metric: value}}."""

    def labels(table: pa.Table) -> NDArray[np.float32]:
        return table["label"].to_numpy()

    return {
        task.name: majority_metrics(
            task, labels(table), {split: labels(rows) for split, rows in evals[task.name].items()}
        )
        for task, table in zip(tasks, train, strict=True)
    }
