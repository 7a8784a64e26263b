"""What a rank notes of its steps until it hands it over as `Records`."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camtl import TokenRows
from pipeline.runs.records import Records
from pipeline.sampling.epoch_bound import Floats
from pipeline.sampling.stream import CandidateStream
from pipeline.training.distributed import all_reduce_sum, rank, world_size
from pipeline.training.scoring import TokenCount


class RecordBuffer:
    """Counts and sums of the steps since the last report. T tasks."""

    def __init__(
        self,
        num_tasks: int,
        trained_tokens: TokenCount,
        scored_tokens: TokenCount,
        stream: CandidateStream,
        device: torch.device,
        *,
        resumed_at: int,
    ) -> None:
        self._num_tasks = num_tasks
        self._tokens = (trained_tokens, scored_tokens)
        self._stream = stream
        self._device = device
        self._resumed_at = resumed_at
        self._last_step = resumed_at
        self._seconds = 0.0
        self._since = time.perf_counter()
        self._began = self._since
        self._taken = np.zeros(4)
        self._clear()

    def _clear(self) -> None:
        self._mix: list[NDArray[np.float64]] = []
        self._rows: list[NDArray[np.int64]] = []
        self._losses = torch.zeros(self._num_tasks, device=self._device)
        self._loss_rows = np.zeros(self._num_tasks)
        self._scored = 0

    def begin(self) -> None:
        """Training time counts from here: the model is built and the first rows are there."""
        self._began = self._since = time.perf_counter()

    def add(
        self,
        step: int,
        weights: Floats,
        means: Floats,
        candidates: Floats,
        trained: Floats,
        rows: TokenRows,
        losses: Tensor,
        scored_rows: int,
    ) -> None:
        """Note a step.

        Args:
            step: its number.
            weights, means, candidates, trained: over all ranks: the tasks' weights, mean uncertainties
                (NaN without candidates), candidates and trained rows, [T].
            rows: what this rank trained on.
            losses: summed loss of this rank's rows of each task, [T].
            scored_rows: rows scored by all ranks.
        """
        tasks = np.arange(self._num_tasks)
        self._mix.append(
            np.stack([np.full(self._num_tasks, step), tasks, weights, means, candidates, trained], axis=1)
        )
        self._rows.append(
            np.stack(
                [np.full(len(rows), step), np.full(len(rows), rank()), rows.task_ids, rows.row_ids], axis=1
            )
        )
        self._losses += losses
        self._loss_rows += np.bincount(rows.task_ids, minlength=self._num_tasks)
        self._scored += scored_rows

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time in here is not training time."""
        self._seconds += time.perf_counter() - self._since
        try:
            yield
        finally:
            self._since = time.perf_counter()

    def take(self, step: int, scores: dict[str, Any] | None) -> Records:
        """Everything since the last time, summed over the ranks (all of them call this), and start anew.

        Args:
            step: the last step that is in it.
            scores: of an evaluation after it, on rank 0.
        """
        trained, scored = self._tokens
        totals = np.array(
            [
                self._seconds,
                self._stream.seconds_waited,
                trained.computed + scored.computed,
                trained.real + scored.real,
            ]
        )
        own = totals - self._taken
        self._taken = totals
        summed = all_reduce_sum(
            np.concatenate([own, self._losses.double().cpu().numpy(), self._loss_rows]), self._device
        )
        seconds, waited, computed, real = summed[:4]
        losses, loss_rows = np.split(summed[4:], 2)
        mix = np.concatenate(self._mix)
        columns = np.concatenate(self._rows)
        records = Records(
            resumed_at=self._resumed_at,
            first_step=self._last_step + 1,
            last_step=step,
            seconds=float(seconds) / world_size(),
            rows={name: columns[:, place] for place, name in enumerate(("step", "rank", "task", "row_id"))},
        )
        if rank() == 0:
            whole = {"step", "task", "candidates", "trained"}
            names = ("step", "task", "weight", "mean_uncertainty", "candidates", "trained")
            records.mix = {
                name: mix[:, place].astype(np.int64 if name in whole else np.float64)
                for place, name in enumerate(names)
            }
            records.summary = {
                "seconds": records.seconds,
                "seconds_waited": waited / world_size(),
                "elapsed": time.perf_counter()
                - self._began,  # this attempt's, evaluating and saving included
                "tokens_computed": computed,
                "tokens_real": real,
                "rows_scored": self._scored,
                "rows_trained": int(loss_rows.sum()),
                "loss_sums": losses.tolist(),
                "loss_rows": loss_rows.tolist(),
                "scores": scores,
            }
        self._last_step = step
        self._clear()
        return records
