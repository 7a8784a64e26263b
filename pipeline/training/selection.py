"""The choice of the rows to train on among a rank's candidates (paper §2.5, Algorithm 1)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from camtl.uncertainty import select_most_uncertain
from pipeline.sampling.arrays import Ints


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Settings of the choice. Departure from the paper: the share of a task in a batch may be bounded.

    Attributes:
        by_uncertainty: choose by uncertainty; otherwise the caller trains on all candidates.
        per_task_pool: the pool is Algorithm 1's. A regression row without a counterpart in `copy_from` then scores
            0, as in the published code; otherwise the mean.
        copy_from: {task without an entropy: the task whose scores it takes, or None}.
        max_share_per_task: bound on one task's share of a trained batch, or one for each task, [T]; None is
            the paper's rule.
        dropout: score with dropout on, as the published code does.
    """

    by_uncertainty: bool
    per_task_pool: bool
    copy_from: Mapping[int, int | None]
    max_share_per_task: float | tuple[float, ...] | None
    dropout: bool

    def choose(self, entropy: Tensor, task_ids: Ints, k: int) -> Ints:
        """Returns the indices of the k most uncertain candidates within the bound, [k]."""
        share = self.max_share_per_task
        chosen, _ = select_most_uncertain(
            entropy,
            torch.from_numpy(task_ids),
            k,
            copy_from=self.copy_from,
            max_share_per_task=torch.tensor(share) if isinstance(share, tuple) else share,
            surplus="zero" if self.per_task_pool else "mean",
        )
        return chosen.numpy()
