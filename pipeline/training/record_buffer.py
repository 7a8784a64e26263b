"""Collects what a rank does in its steps until it is reported as `Records`."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camtl import TokenRows
from pipeline.runs.records import Records
from pipeline.sampling.arrays import Floats
from pipeline.sampling.stream import CandidateStream
from pipeline.training.distributed import all_reduce_sum, rank, world_size
from pipeline.training.scoring import TokenCount

Columns = dict[str, NDArray[Any]]


class RecordBuffer:
    """Counts, sums and tables of the steps since the last report. T tasks."""

    def __init__(
        self,
        num_tasks: int,
        token_counts: Sequence[TokenCount],
        stream: CandidateStream,
        device: torch.device,
        *,
        resumed_at: int,
    ) -> None:
        """Starts empty; `token_counts` (training, scoring) and `stream` keep counts of their own."""
        self._num_tasks = num_tasks
        self._token_counts = token_counts
        self._stream = stream
        self._device = device
        self._resumed_at = resumed_at
        self._last_step = resumed_at
        self._seconds = 0.0
        self._reported = np.zeros(4)  # of the totals in `take`
        self.start_clock()
        self._clear()

    def _clear(self) -> None:
        self._mix: list[Columns] = []
        self._rows: list[Columns] = []
        self._losses = torch.zeros(self._num_tasks, device=self._device)
        self._loss_rows = np.zeros(self._num_tasks)
        self._scored = 0

    def start_clock(self) -> None:
        """Starts the training time: the model is built and the first rows have arrived."""
        self._began = self._running_since = time.perf_counter()

    @contextlib.contextmanager
    def clock_stopped(self) -> Iterator[None]:
        """Excludes the time within the context from the training time."""
        self._seconds += time.perf_counter() - self._running_since
        try:
            yield
        finally:
            self._running_since = time.perf_counter()

    def add(
        self, step: int, mix: Mapping[str, Floats], rows: TokenRows, losses: Tensor, *, scored_rows: int
    ) -> None:
        """Records a step.

        Args:
            step: its number.
            mix: over all ranks: the tasks' `weight`, `mean_uncertainty` (NaN without candidates), `candidates`
                and `trained` rows, [T] each.
            rows: rows that this rank trained on.
            losses: summed loss of this rank's rows of each task, [T].
            scored_rows: rows scored by all ranks.
        """
        counts = {name: mix[name].astype(np.int64) for name in ("candidates", "trained")}
        steps = np.full(self._num_tasks, step)
        self._mix.append({"step": steps, "task": np.arange(self._num_tasks), **mix, **counts})
        numbers = {"step": np.full(len(rows), step), "rank": np.full(len(rows), rank())}
        self._rows.append({**numbers, "task": rows.task_ids, "row_id": rows.row_ids})
        self._losses += losses
        self._loss_rows += np.bincount(rows.task_ids, minlength=self._num_tasks)
        self._scored += scored_rows

    def take(self, step: int, scores: dict[str, Any] | None) -> Records:
        """Returns the records since the last call, summed over the ranks, and clears the buffer.

        Every rank must call this together.

        Args:
            step: the last step of the records.
            scores: of an evaluation after that step, on rank 0.
        """
        computed = sum(count.computed for count in self._token_counts)
        real = sum(count.real for count in self._token_counts)
        totals = np.array([self._seconds, self._stream.seconds_waited, computed, real])
        losses = self._losses.double().cpu().numpy()
        sums = np.concatenate([totals - self._reported, losses, self._loss_rows])
        sums = all_reduce_sum(sums, self._device)
        self._reported = totals
        seconds, waited = (sums[:2] / world_size()).tolist()
        losses, loss_rows = np.split(sums[4:], 2)
        records = Records(
            resumed_at=self._resumed_at,
            first_step=self._last_step + 1,
            last_step=step,
            seconds=seconds,
            rows=_concatenate(self._rows),
        )
        if rank() == 0:
            records.mix = _concatenate(self._mix)
            records.summary = {
                "seconds": seconds,
                "seconds_waited": waited,
                # of this attempt, evaluation and saving included
                "elapsed": time.perf_counter() - self._began,
                "tokens_computed": sums[2],
                "tokens_real": sums[3],
                "rows_scored": self._scored,
                "rows_trained": int(loss_rows.sum()),
                "loss_sums": losses.tolist(),
                "loss_rows": loss_rows.tolist(),
                "scores": scores,
            }
        self._last_step = step
        self._clear()
        return records


def _concatenate(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
