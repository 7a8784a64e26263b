"""Conditional alignment: modulates the embeddings per task before the first layer (paper §2.2)."""

from torch import Tensor, nn

from camtl.modules.film import FiLM
from camtl.modules.task_context import TaskContext


class ConditionalAlignment(nn.Module):
    """FiLM on the embedding output, generated from the untransformed task embedding."""

    def __init__(self, condition_size: int, hidden_size: int) -> None:
        super().__init__()
        self.film = FiLM(condition_size, hidden_size)

    def forward(self, embeddings_SWH: Tensor, task_embedding_TZ: Tensor, context: TaskContext) -> Tensor:
        """Embeddings [S, W, H] -> aligned embeddings [S, W, H]."""
        scale_TH, shift_TH = self.film(task_embedding_TZ)
        return embeddings_SWH * context.per_token(scale_TH) + context.per_token(shift_TH)
