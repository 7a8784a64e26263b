"""Multiple choice: each choice is an encoding of its own and gets one score; a row's scores compete."""

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from camtl.heads.head import Array, Head
from camtl.packing import TaskRows
from camtl.uncertainty import normalized_entropy


class ChoiceHead(Head):
    """A score per choice; rows may have different numbers of choices."""

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, where: TaskRows) -> Tensor:
        """Scores [n, most choices], -inf where a row has fewer."""
        scores = self.read(pooled_EH[where.encodings]).squeeze(-1)
        empty = scores.new_full((where.num_rows, where.most_encodings), float("-inf"))
        return empty.index_put((where.row_of_encoding, where.place_of_encoding), scores)

    def row_losses(self, logits: Tensor, labels: Tensor, where: TaskRows) -> Tensor:
        """Cross-entropy of the right choice, [n]."""
        return F.cross_entropy(logits, labels.long(), reduction="none")

    def row_uncertainty(self, logits: Tensor, where: TaskRows) -> Tensor:
        """Entropy over the log of the row's choices, [n]."""
        return normalized_entropy(logits)

    def split(self, logits: Tensor, where: TaskRows) -> list[list[Array]]:
        """Scores [choices] of each row."""
        return [[row[np.isfinite(row)]] for row in logits.numpy()]
