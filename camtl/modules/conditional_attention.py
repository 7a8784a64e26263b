"""Conditional block-diagonal attention: an additive score M(z) per task (paper §2.2, eq. 3–4).

softmax(M(z) + Q K^T / sqrt(d)) V, where M(z) is block-diagonal: N attention blocks share one [L, C] matrix
whose columns are scaled and shifted per task. Off the diagonal M(z) is 0, as in plain attention.
M(z) is computed once per task and then indexed for every pair of tokens, by their positions.

Shape suffixes: T tasks, Z task embedding, L max_seq_length, C = ceil(L / N) columns of an attention block,
S sequences, W tokens a sequence.
"""

import math

import torch
from torch import Tensor, nn

from camtl.modules.film import FiLM


class ConditionalAttentionBias(nn.Module):
    """M(z) of one layer; the same for all its heads."""

    def __init__(self, condition_size: int, max_seq_length: int, attention_blocks: int) -> None:
        super().__init__()
        columns = math.ceil(max_seq_length / attention_blocks)
        self.matrix = nn.Parameter(torch.zeros(max_seq_length, columns))
        self.film = FiLM(condition_size, columns)

    def forward(self, condition_TZ: Tensor, indices_SWW: Tensor) -> Tensor:
        """Conditions [T, Z] and `attention_bias_indices` [S, W, W] -> additive scores [S, W, W]."""
        scale_TC, shift_TC = self.film(condition_TZ)
        blocks_TLC = scale_TC[:, None] * self.matrix + shift_TC[:, None]
        flat = torch.cat([blocks_TLC.flatten(), blocks_TLC.new_zeros(1)])  # the last entry: off the diagonal
        return flat[indices_SWW]


def attention_bias_indices(
    positions_SW: Tensor, token_task_SW: Tensor, *, num_tasks: int, max_seq_length: int, attention_blocks: int
) -> Tensor:
    """Returns the index of each token pair's score in the flattened attention blocks [T, L, C] of any layer.

    Args:
        positions_SW: position of each token in its encoding, 0 .. max_seq_length - 1, [S, W].
        token_task_SW: task id of each token, [S, W] or [S, 1].
        num_tasks, max_seq_length: T and L.
        attention_blocks: N. A block covers ceil(L / N) positions, so there can be fewer than N blocks.

    Returns:
        Indices [S, W, W] (query, key); T * L * C for a pair off the diagonal.
    """
    columns = math.ceil(max_seq_length / attention_blocks)
    query = (token_task_SW * max_seq_length + positions_SW) * columns
    index = query[:, :, None] + (positions_SW % columns)[:, None, :]
    block = positions_SW // columns
    off_diagonal = block[:, :, None] != block[:, None, :]
    return index.masked_fill(off_diagonal, num_tasks * max_seq_length * columns)
