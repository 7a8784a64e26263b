"""What every head can do, and what heads share.

Shape suffixes: n rows of the task, e encodings of them, k marked tokens, N tokens of the batch, H hidden.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from camtl.heads.spec import HeadSpec
from camtl.packing import TaskRows

Array = NDArray[np.float32]


class Head(nn.Module, ABC):
    """One task's head: a linear layer on states of the encoder, with the task's loss and uncertainty.

    Args:
        spec: what the task predicts.
        hidden_size: H.
        dropout: of the states that are read.
    """

    reads = 1  # states side by side that the layer reads

    def __init__(self, spec: HeadSpec, hidden_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = spec
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(self.reads * hidden_size, spec.num_labels)

    def read(self, states: Tensor) -> Tensor:
        """What the layer gives for states [..., reads * H]: float32 [..., labels]."""
        read: Tensor = self.linear(self.dropout(states)).float()
        return read

    @abstractmethod
    def forward(self, states_NH: Tensor, pooled_EH: Tensor, where: TaskRows) -> Tensor:
        """Logits, float32, of the task's rows in a batch.

        Args:
            states_NH: hidden state of every token of the batch.
            pooled_EH: pooled state of every encoding of the batch.
            where: where the task's rows lie in both.
        """

    @abstractmethod
    def row_losses(self, logits: Tensor, labels: Tensor, where: TaskRows) -> Tensor:
        """Loss of each row, [n]."""

    @abstractmethod
    def row_uncertainty(self, logits: Tensor, where: TaskRows) -> Tensor:
        """Normalised entropy of each row, in [0, 1], [n]."""

    @abstractmethod
    def split(self, logits: Tensor, where: TaskRows) -> list[list[Array]]:
        """Logits on the host, row by row: one array, of a span one per window."""


def segment_mean(values: Tensor, segment: Tensor, segments: int) -> Tensor:
    """Mean of `values` [k] over each segment -> [segments]; 0 for one without values.

    Args:
        values: [k].
        segment: segment of each value, int64, [k].
        segments: number of segments.
    """
    zeros = torch.zeros(segments, device=values.device, dtype=values.dtype)
    counts = zeros.index_add(0, segment, torch.ones_like(values))
    return zeros.index_add(0, segment, values) / counts.clamp(min=1)


def per_row(values_e: Tensor, where: TaskRows) -> Tensor:
    """Mean over each row's encodings, [e] -> [n]."""
    return segment_mean(values_e, where.row_of_encoding, where.num_rows)
