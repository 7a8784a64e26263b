"""Token tagging: one class per word, read at its first sub-token (Devlin et al. 2019, §5.3).

A row's loss is the mean over its words, so that a long sentence weighs as much as a short one.
"""

from torch import Tensor
from torch.nn import functional as F

from camtl.heads.head import Array, Head, segment_mean
from camtl.packing import TaskRows
from camtl.uncertainty import normalized_entropy


class TaggingHead(Head):
    """Classes of the marked tokens, whose marks are their tags."""

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, where: TaskRows) -> Tensor:
        """Logits of the marked tokens, row after row, [k, C]."""
        return self.read(states_NH[where.tokens])

    def row_losses(self, logits: Tensor, labels: Tensor, where: TaskRows) -> Tensor:
        """Mean cross-entropy of each row's marked tokens, [n]; the truth is the marks, not `labels`."""
        losses = F.cross_entropy(logits, where.marks, reduction="none")
        return segment_mean(losses, where.row_of_token, where.num_rows)

    def row_uncertainty(self, logits: Tensor, where: TaskRows) -> Tensor:
        """Mean entropy over log C of each row's marked tokens, [n]."""
        return segment_mean(normalized_entropy(logits), where.row_of_token, where.num_rows)

    def split(self, logits: Tensor, where: TaskRows) -> list[list[Array]]:
        """Logits [marked tokens, C] of each row."""
        rows = where.row_of_token.numpy()
        return [[logits.numpy()[rows == row]] for row in range(where.num_rows)]
