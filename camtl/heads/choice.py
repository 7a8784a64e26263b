"""Multiple choice: each choice is an encoding and gets one score; a softmax compares a row's scores."""

import numpy as np
from torch import Tensor

from camtl.heads.head import Array
from camtl.heads.pooled import ClassificationHead
from camtl.packing import TaskRows


class ChoiceHead(ClassificationHead):
    """A score per choice; rows may have different numbers of choices."""

    def forward(self, states_NH: Tensor, pooled_EH: Tensor, task_rows: TaskRows) -> Tensor:
        """Scores [n, largest number of choices]; -inf for a row with fewer."""
        scores_e = super().forward(states_NH, pooled_EH, task_rows).squeeze(-1)
        empty = scores_e.new_full((task_rows.num_rows, task_rows.max_encodings), float("-inf"))
        return empty.index_put((task_rows.row_of_encoding, task_rows.index_in_row), scores_e)

    def unbatch(self, logits: Tensor, task_rows: TaskRows) -> list[list[Array]]:
        """Scores [choices] of each row."""
        return [[row[np.isfinite(row)]] for row in logits.numpy()]
