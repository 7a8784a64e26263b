"""Conditional layer norm: a norm whose weight is modulated per task (paper §2.3, eq. 5)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camtl.modules.film import FiLM
from camtl.modules.task_context import TaskContextHolder


class ConditionalLayerNorm(nn.Module):
    """weight(z) = (1 + gamma(z)) * weight + beta(z); the bias is shared by all tasks.

    `weight` and `bias` keep the names of the norm it replaces, so pretrained values load into them.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        eps: float,
        condition_size: int,
        holder: TaskContextHolder,
        has_bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size)) if has_bias else None
        self.eps = eps
        self.film = FiLM(condition_size, hidden_size)
        self._holder = holder

    def forward(self, hidden_SWH: Tensor) -> Tensor:
        """Hidden states [S, W, H] -> normalised hidden states [S, W, H]."""
        context = self._holder.get()
        scale_TH, shift_TH = self.film(context.condition)
        weight_SWH = context.per_token(scale_TH * self.weight + shift_TH)
        normed_SWH = F.layer_norm(hidden_SWH, self.weight.shape, eps=self.eps) * weight_SWH
        return normed_SWH if self.bias is None else normed_SWH + self.bias


def make_conditional(owner: nn.Module, name: str, condition_size: int, holder: TaskContextHolder) -> None:
    """Put a conditional norm in the place of the `nn.LayerNorm` `owner.<name>`, under its name."""
    norm = getattr(owner, name)
    conditional = ConditionalLayerNorm(
        norm.normalized_shape[0],
        eps=norm.eps,
        condition_size=condition_size,
        holder=holder,
        has_bias=norm.bias is not None,
    )
    setattr(owner, name, conditional)
