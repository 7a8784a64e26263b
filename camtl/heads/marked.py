"""Classification that reads marked words too: is a word used in the same sense, does a pronoun mean a noun.

As the BERT baselines of SuperGLUE do (Wang et al. 2019, §4): the pooled state beside the mean state of
each of two marked words. A mark that truncation cut off leaves zeros.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camtl.heads.head import Array
from camtl.heads.spec import HeadSpec
from camtl.packing import TaskRows
from camtl.uncertainty import normalized_entropy

MARKS = 2


class MarkedHead(nn.Module):
    """Classes of a row, from its pooled state and its two marked words."""

    def __init__(self, spec: HeadSpec, hidden_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = spec
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear((1 + MARKS) * hidden_size, spec.num_labels)

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, where: TaskRows) -> Tensor:
        """Logits [n, C]."""
        slot = where.row_of_token * (1 + MARKS) + where.marks.clamp(0, MARKS)  # slot 0: no mark
        slots = where.num_rows * (1 + MARKS)
        marked_kH = states_NH[where.tokens]
        sums = marked_kH.new_zeros(slots, marked_kH.shape[-1]).index_add(0, slot, marked_kH)
        counts = marked_kH.new_zeros(slots).index_add(0, slot, torch.ones_like(slot, dtype=marked_kH.dtype))
        words = (sums / counts.clamp(min=1)[:, None]).view(where.num_rows, 1 + MARKS, -1)[:, 1:]
        features = torch.cat([pooled_EH[where.encodings], words.flatten(1)], dim=-1)
        logits: Tensor = self.linear(self.dropout(features)).float()
        return logits

    def row_losses(self, logits: Tensor, labels: Tensor, where: TaskRows) -> Tensor:
        """Cross-entropy, [n]."""
        return F.cross_entropy(logits, labels.long(), reduction="none")

    def row_uncertainty(self, logits: Tensor, where: TaskRows) -> Tensor:
        """Entropy over log C, [n]."""
        return normalized_entropy(logits)

    def split(self, logits: Tensor, where: TaskRows) -> list[list[Array]]:
        """Logits [C] of each row."""
        return [[row] for row in logits.numpy()]
