"""Classification and regression: a linear layer on the pooled state of a row's first token, as in BERT.

Regression may be given the range of its labels: predictions are then in the task's own units while the
loss is measured on the range scaled to 0–1, so that a task of range 0–5 does not weigh 25 times what its
share says.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from camtl.heads.head import Array, Head
from camtl.packing import TaskRows
from camtl.uncertainty import normalized_entropy


class ClassificationHead(Head):
    """Classes of a row (of a text or a pair of texts)."""

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, where: TaskRows) -> Tensor:
        """Logits [n, C]."""
        return self.read(pooled_EH[where.encodings])

    def row_losses(self, logits: Tensor, labels: Tensor, where: TaskRows) -> Tensor:
        """Cross-entropy, [n]."""
        return F.cross_entropy(logits, labels.long(), reduction="none")

    def row_uncertainty(self, logits: Tensor, where: TaskRows) -> Tensor:
        """Entropy over log C, [n]."""
        return normalized_entropy(logits)

    def split(self, logits: Tensor, where: TaskRows) -> list[list[Array]]:
        """Logits [C] of each row."""
        return [[row] for row in logits.numpy()]


class RegressionHead(Head):
    """A number for a row."""

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, where: TaskRows) -> Tensor:
        """Predictions in the labels' units, [n, 1]."""
        values: Tensor = self.read(pooled_EH[where.encodings])
        low, high = self.spec.label_range or (0.0, 1.0)
        return low + (high - low) * values if self.spec.label_range else values

    def row_losses(self, logits: Tensor, labels: Tensor, where: TaskRows) -> Tensor:
        """Squared error, on the label range scaled to 0–1 where there is one, [n]."""
        low, high = self.spec.label_range or (0.0, 1.0)
        scale = high - low
        return F.mse_loss(logits.squeeze(-1) / scale, labels.to(torch.float32) / scale, reduction="none")

    def row_uncertainty(self, logits: Tensor, where: TaskRows) -> Tensor:
        """A single value has no entropy: 0, [n] (`uncertainty_from` gives a task another's)."""
        return torch.zeros(len(logits), device=logits.device)

    def split(self, logits: Tensor, where: TaskRows) -> list[list[Array]]:
        """Value [1] of each row."""
        return [[row] for row in logits.numpy()]
