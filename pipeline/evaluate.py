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
Predictions = dict[str, dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]]


@dataclass(frozen=True)
class EvalSet:
    """One evaluation split: the task's id, the split's name, its prepared rows."""

    task: int
    split: str
    rows: TokenRows

    @staticmethod
    def from_table(task: int, split: str, table: pa.Table) -> "EvalSet":
        """The rows of a prepared table."""
        return EvalSet(task, split, token_rows(table.append_column("task", pa.array([task] * table.num_rows))))


def predict_all(model: CaMtlModel, sets: Sequence[EvalSet], arithmetic: Arithmetic) -> Predictions | None:
    """Logits of every row of every set.

    Args:
        model: the model; put into evaluation mode.
        sets: the same on every rank.
        arithmetic: device and precision.

    Returns:
        On rank 0 {task: {split: (logits [n, labels], labels [n])}} in the sets' order of rows; None elsewhere.

    Raises:
        RuntimeError: a row was scored twice or not at all.
    """
    model.eval()
    own = [np.arange(rank(), len(part.rows), world_size()) for part in sets]
    rows = TokenRows.concatenate([part.rows.take(numbers) for part, numbers in zip(sets, own, strict=True)])
    starts = np.cumsum([0, *(len(numbers) for numbers in own)])
    scored: dict[int, list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = {}
    for numbers, logits in predict(model, rows, arithmetic, batch_rows=BATCH_ROWS).values():
        owner = np.searchsorted(starts, numbers, side="right") - 1
        for index in np.unique(owner):
            mine = owner == index
            scored.setdefault(int(index), []).append((own[index][numbers[mine] - starts[index]], logits.numpy()[mine]))
    gathered = gather_objects(scored)
    if gathered is None:
        return None
    predictions: Predictions = {}
    for index, part in enumerate(sets):
        pieces = [piece for of_rank in gathered for piece in of_rank.get(index, [])]
        numbers = np.concatenate([numbers for numbers, _ in pieces])
        if not np.array_equal(np.sort(numbers), np.arange(len(part.rows))):
            raise RuntimeError(f"split {part.split!r} of task {part.task}: a row was scored twice or not at all")
        logits = np.concatenate([values for _, values in pieces])[np.argsort(numbers)]
        predictions.setdefault(model.config.tasks[part.task], {})[part.split] = (logits, part.rows.labels)
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
