"""The interface of all heads, and helpers that several share.

Shape suffixes: n rows of the task, e encodings of them, k marked tokens, N tokens and E encodings of the batch,
H hidden, C classes.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from camtl.heads.spec import HeadSpec
from camtl.packing import TaskRows
from camtl.uncertainty import normalized_entropy

Array = NDArray[np.float32]


class Head(nn.Module, ABC):
    """One task's head: dropout and a linear layer on the encoder's states, with the task's loss and uncertainty."""

    num_states = 1  # hidden states, side by side, in the layer's input

    def __init__(self, spec: HeadSpec, hidden_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = spec
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(self.num_states * hidden_size, spec.num_labels)

    def project(self, states: Tensor) -> Tensor:
        """States [..., num_states * H] -> outputs of the layer, float32, [..., num_labels]."""
        return self.linear(self.dropout(states)).float()

    @abstractmethod
    def forward(self, states_NH: Tensor, pooled_EH: Tensor, task_rows: TaskRows) -> Tensor:
        """Logits, float32, of the task's rows, from the states of all tokens and encodings of a batch."""

    @abstractmethod
    def row_losses(self, logits: Tensor, labels: Tensor, task_rows: TaskRows) -> Tensor:
        """Loss of each row, [n]."""

    def row_uncertainty(self, logits: Tensor, task_rows: TaskRows) -> Tensor:
        """Normalised entropy of each row, in [0, 1], [n]."""
        return normalized_entropy(logits)

    def unbatch(self, logits: Tensor, task_rows: TaskRows) -> list[list[Array]]:
        """Splits logits on the host by row: one array per row; of a span one per window."""
        return [[row] for row in logits.numpy()]
