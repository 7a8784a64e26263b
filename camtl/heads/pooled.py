"""Classification and regression: a linear layer on the pooled state of a row's first token, as in BERT.

With a label range, a regression's predictions are in the task's own units and its loss is computed on the
range scaled to 0–1, so that a task with range 0–5 does not weigh 25 times its share.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from camtl.heads.head import Head
from camtl.packing import TaskRows


class ClassificationHead(Head):
    """Classes of a row (of a text or a pair of texts)."""

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, task_rows: TaskRows) -> Tensor:
        """Logits [n, C]."""
        return self.project(pooled_EH[task_rows.encodings])

    def row_losses(self, logits: Tensor, labels: Tensor, task_rows: TaskRows) -> Tensor:
        """Cross-entropy, [n]."""
        return F.cross_entropy(logits, labels.long(), reduction="none")


class RegressionHead(Head):
    """A number for a row. It has no entropy: its uncertainty is 0."""

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, task_rows: TaskRows) -> Tensor:
        """Predictions in the labels' units, [n, 1]."""
        values = self.project(pooled_EH[task_rows.encodings])
        if self.spec.label_range is None:
            return values
        low, high = self.spec.label_range
        return low + (high - low) * values

    def row_losses(self, logits: Tensor, labels: Tensor, task_rows: TaskRows) -> Tensor:
        """Squared error, with a label range scaled to 0–1, [n]."""
        low, high = self.spec.label_range or (0.0, 1.0)
        scale = high - low
        return F.mse_loss(logits.squeeze(-1) / scale, labels.to(torch.float32) / scale, reduction="none")
