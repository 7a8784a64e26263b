"""Conditional bottleneck: a linear adapter after a task's scale and shift (paper §2.4, eq. 6).

Base: one in the top layer, norm(bottleneck(layer output) + attention output).
Large: one per layer on a skip path, f_i = bottleneck_i(h_i + f_{i-1}); the last f_i is the encoder's output.
"""

from torch import Tensor, nn

from camtl.modules.film import FiLM
from camtl.modules.task_context import TaskContext


class ConditionalBottleneck(nn.Module):
    """FiLM, then down to `hidden_size // reduction` and up again, without a non-linearity between."""

    def __init__(self, condition_size: int, hidden_size: int, reduction: int) -> None:
        super().__init__()
        self.condition = nn.Linear(condition_size, condition_size)
        self.film = FiLM(condition_size, hidden_size)
        self.down = nn.Linear(hidden_size, hidden_size // reduction)
        self.up = nn.Linear(hidden_size // reduction, hidden_size)

    def forward(self, hidden_SWH: Tensor, context: TaskContext) -> Tensor:
        """Hidden states [S, W, H] -> [S, W, H]."""
        scale_TH, shift_TH = self.film(self.condition(context.condition))
        modulated = hidden_SWH * context.per_token(scale_TH) + context.per_token(shift_TH)
        return self.up(self.down(modulated))
