"""Token tagging: one class per word, read at its first sub-token (Devlin et al. 2019, §5.3).

A row's loss is the mean over its words, so that a long sentence weighs as much as a short one.
"""

from torch import Tensor
from torch.nn import functional as F

from camtl.heads.head import Array, Head
from camtl.packing import TaskRows
from camtl.uncertainty import normalized_entropy, segment_mean


class TaggingHead(Head):
    """Classes of the marked tokens, whose marks are the true tags."""

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, task_rows: TaskRows) -> Tensor:
        """Logits of the marked tokens, in row order, [k, C]."""
        return self.project(states_NH[task_rows.tokens])

    def row_losses(self, logits: Tensor, labels: Tensor, task_rows: TaskRows) -> Tensor:
        """Mean cross-entropy of each row's marked tokens, [n]; reads the marks, not `labels`."""
        losses_k = F.cross_entropy(logits, task_rows.marks, reduction="none")
        return segment_mean(losses_k, task_rows.row_of_token, task_rows.num_rows)

    def row_uncertainty(self, logits: Tensor, task_rows: TaskRows) -> Tensor:
        """Mean normalised entropy of each row's marked tokens, [n]."""
        return segment_mean(normalized_entropy(logits), task_rows.row_of_token, task_rows.num_rows)

    def unbatch(self, logits: Tensor, task_rows: TaskRows) -> list[list[Array]]:
        """Logits [marked tokens, C] of each row."""
        rows = task_rows.row_of_token.numpy()
        return [[logits.numpy()[rows == row]] for row in range(task_rows.num_rows)]
