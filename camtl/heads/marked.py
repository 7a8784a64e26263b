"""Classification that reads marked words too: is a word used in the same sense, does a pronoun mean a noun.

As the BERT baselines of SuperGLUE do (Wang et al. 2019, §4): the pooled state beside the mean state of
each of two marked words. A mark that truncation cut off leaves zeros.
"""

import torch
from torch import Tensor

from camtl.heads.pooled import ClassificationHead
from camtl.packing import TaskRows

MARKS = 2


class MarkedHead(ClassificationHead):
    """Classes of a row, from its pooled state and its two marked words."""

    reads = 1 + MARKS

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, where: TaskRows) -> Tensor:
        """Logits [n, C]."""
        slot = where.row_of_token * (1 + MARKS) + where.marks.clamp(0, MARKS)  # slot 0: no mark
        slots = where.num_rows * (1 + MARKS)
        marked_kH = states_NH[where.tokens]
        sums = marked_kH.new_zeros(slots, marked_kH.shape[-1]).index_add(0, slot, marked_kH)
        counts = marked_kH.new_zeros(slots).index_add(0, slot, torch.ones_like(slot, dtype=marked_kH.dtype))
        words = (sums / counts.clamp(min=1)[:, None]).view(where.num_rows, 1 + MARKS, -1)[:, 1:]
        features = torch.cat([pooled_EH[where.encodings], words.flatten(1)], dim=-1)
        return self.read(features)
