"""Conditional layer norm: a norm whose weight is modulated per task (paper §2.3, eq. 5)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camtl.modules.film import FiLM
from camtl.modules.task_context import TaskContextHolder


class ConditionalLayerNorm(nn.Module):
    """weight(z) = (1 + gamma(z)) * weight + beta(z); the bias is shared by all tasks.

    Replaces `norm`: `weight` and `bias` keep their names, so pretrained values load into them.
    """

    def __init__(self, norm: nn.LayerNorm, condition_size: int, holder: TaskContextHolder) -> None:
        super().__init__()
        features = norm.weight.shape[0]
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = None if norm.bias is None else nn.Parameter(torch.zeros(features))
        self.eps = norm.eps
        self.film = FiLM(condition_size, features)
        self._holder = holder

    def forward(self, hidden_SWH: Tensor) -> Tensor:
        """Hidden states [S, W, H] -> normalised hidden states [S, W, H]."""
        context = self._holder.get()
        scale_TH, shift_TH = self.film(context.condition)
        weight_SWH = context.per_token(scale_TH * self.weight + shift_TH)
        normed_SWH = F.layer_norm(hidden_SWH, self.weight.shape, eps=self.eps) * weight_SWH
        return normed_SWH if self.bias is None else normed_SWH + self.bias
