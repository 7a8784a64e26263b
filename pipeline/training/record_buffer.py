"""Collects what a rank does in its steps until it is reported as `Records`."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass
class RecordBuffer:
    """Counts, sums and tables of the steps since the last report. T tasks."""

    num_tasks: int
    token_counts: Sequence[TokenCount]  # of training and of scoring
    stream: CandidateStream
    device: torch.device
    last_step: int  # reported so far; at the start the step that the run resumed from

    def __post_init__(self) -> None:
        self._resumed_at = self.last_step
        self._seconds = 0.0
        self._reported = np.zeros(4)  # of the totals in `take`
        self.start_clock()
        self._clear()

    def _clear(self) -> None:
        self._mix: list[Columns] = []
        self._rows: list[Columns] = []
        self._losses = torch.zeros(self.num_tasks, device=self.device)
        self._rows_scored = 0

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
        self, step: int, mix: Mapping[str, Floats], rows: TokenRows, losses: Tensor, *, scored: bool
    ) -> None:
        """Records a step.

        Args:
            step: its number.
            mix: over all ranks: the tasks' `weight`, `mean_uncertainty` (NaN without candidates), `candidates`
                and `trained` rows, [T] each.
            rows: rows that this rank trained on.
            losses: summed loss of this rank's rows of each task, [T].
            scored: the candidates were scored.
        """
        counts = {name: mix[name].astype(np.int64) for name in ("candidates", "trained")}
        steps = np.full(self.num_tasks, step)
        self._mix.append({"step": steps, "task": np.arange(self.num_tasks), **mix, **counts})
        numbers = {"step": np.full(len(rows), step), "rank": np.full(len(rows), rank())}
        self._rows.append({**numbers, "task": rows.task_ids, "row_id": rows.row_ids})
        self._losses += losses
        self._rows_scored += int(mix["candidates"].sum()) if scored else 0

    def take(self, step: int, scores: dict[str, Any] | None) -> Records:
        """Returns the records up to `step`, summed over the ranks, which call this together; clears the buffer.

        `scores` are of an evaluation after that step, on rank 0.
        """
        computed = sum(count.computed for count in self.token_counts)
        real = sum(count.real for count in self.token_counts)
        totals = np.array([self._seconds, self.stream.seconds_waited, computed, real])
        rows = _concatenate(self._rows)
        row_counts = np.bincount(rows["task"], minlength=self.num_tasks)
        parts = (totals - self._reported, self._losses.double().cpu().numpy(), row_counts)
        sums = all_reduce_sum(np.concatenate(parts), self.device)
        self._reported = totals
        seconds, waited = (sums[:2] / world_size()).tolist()
        losses, loss_rows = np.split(sums[4:], 2)
        records = Records(
            resumed_at=self._resumed_at,
            first_step=self.last_step + 1,
            last_step=step,
            seconds=seconds,
            rows=rows,
        )
        if rank() == 0:
            records.mix = _concatenate(self._mix)
            records.summary = {
                "seconds": seconds,
                "seconds_waited": waited,
                "elapsed": time.perf_counter() - self._began,  # evaluation and saving included
                "tokens_computed": sums[2],
                "tokens_real": sums[3],
                "rows_scored": self._rows_scored,
                "rows_trained": int(loss_rows.sum()),
                "loss_sums": losses.tolist(),
                "loss_rows": loss_rows.tolist(),
                "scores": scores,
            }
        self.last_step = step
        self._clear()
        return records


def _concatenate(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
