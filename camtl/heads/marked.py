"""Classification that also reads two marked words: word sense, or whether a pronoun refers to a noun.

As in SuperGLUE's BERT baselines (Wang et al. 2019, §4), the input is the pooled state and the mean state of
each marked word. A word that truncation removed gives zeros.
"""

import torch
from torch import Tensor

from camtl.heads.pooled import ClassificationHead
from camtl.packing import TaskRows

MARKS = 2


class MarkedHead(ClassificationHead):
    """Classes of a row, from its pooled state and its two marked words."""

    num_states = 1 + MARKS

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, task_rows: TaskRows) -> Tensor:
        """Logits [n, C]."""
        slot_k = task_rows.row_of_token * (1 + MARKS) + task_rows.marks.clamp(0, MARKS)  # slot 0: no mark
        slots = task_rows.num_rows * (1 + MARKS)
        marked_kH = states_NH[task_rows.tokens]
        sums = marked_kH.new_zeros(slots, marked_kH.shape[-1]).index_add(0, slot_k, marked_kH)
        counts = marked_kH.new_zeros(slots).index_add(0, slot_k, marked_kH.new_ones(len(slot_k)))
        words = (sums / counts.clamp(min=1)[:, None]).view(task_rows.num_rows, 1 + MARKS, -1)[:, 1:]
        return self.project(torch.cat([pooled_EH[task_rows.encodings], words.flatten(1)], dim=-1))
