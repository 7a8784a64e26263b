"""Task heads: what turns a row's encoding into predictions, and predictions into a loss.

A head is a linear layer on the pooled state of the row's first token, as in BERT (and in the
published code). Regression may be given the range of its labels: predictions are then in the
task's own units while the loss is measured on the range scaled to 0–1, so that a task of range
0–5 does not weigh 25 times what its share says.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KINDS = ("classification", "regression")


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """What a task predicts.

    Attributes:
        kind: `classification` or `regression`.
        num_labels: classes of a classification; 1 for a regression.
        label_range: (lowest, highest) label of a regression. None leaves the squared error in the
            labels' own units, as the published code does.
        label_names: names of the classes, in the order of their numbers.
    """

    kind: str = "classification"
    num_labels: int = 2
    label_range: tuple[float, float] | None = None
    label_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"head kind {self.kind!r} is not known: use one of {', '.join(KINDS)}")
        if self.kind == "regression" and self.num_labels != 1:
            raise ValueError(f"a regression head has 1 output, not num_labels={self.num_labels}")
        if self.kind == "classification" and self.num_labels < 2:
            raise ValueError(f"a classification needs at least 2 labels, not num_labels={self.num_labels}")
        if self.label_range is not None:
            low, high = self.label_range
            if self.kind != "regression" or not low < high:
                raise ValueError(f"label_range={self.label_range} needs a regression and lowest < highest")
            object.__setattr__(self, "label_range", (float(low), float(high)))
        if self.label_names and len(self.label_names) != self.num_labels:
            raise ValueError(f"{len(self.label_names)} label_names for num_labels={self.num_labels}")
        object.__setattr__(self, "label_names", tuple(self.label_names))


class LinearHead(nn.Module):
    """Linear layer of one task on the pooled state, with that task's loss."""

    def __init__(self, spec: HeadSpec, hidden_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = spec
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, spec.num_labels)

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled states [n, H] -> logits [n, num_labels]; a regression's are in its labels' units."""
        logits: Tensor = self.linear(self.dropout(pooled)).float()
        if self.spec.label_range is not None:
            low, high = self.spec.label_range
            logits = low + (high - low) * logits
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of n rows: cross-entropy, or squared error on the label range scaled to 0–1."""
        if self.spec.kind == "classification":
            return F.cross_entropy(logits, labels.long())
        scale = 1.0 if self.spec.label_range is None else self.spec.label_range[1] - self.spec.label_range[0]
        return F.mse_loss(logits.squeeze(-1) / scale, labels.to(torch.float32) / scale)
