"""The tasks of the current batch, for conditional modules inside the pretrained encoder.

transformers' encoder passes no task to its modules. They read it from a holder that the model fills before
every layer, and again when gradient checkpointing recomputes a layer.

Shape suffixes: S sequences, W tokens a sequence, T tasks, Z size of the task embedding, F features.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class TaskContext:
    """Conditions of all tasks and the task of every token.

    Attributes:
        condition: transformed task embeddings [T, Z], the input of the generators in the layers.
        token_task: task id of every token, [S, W]; or [S, 1] if each sequence has one task.
    """

    condition: Tensor
    token_task: Tensor

    def per_token(self, table_TF: Tensor) -> Tensor:
        """Looks up a value per task [T, F] for every token: [S, W, F] (or [S, 1, F])."""
        return F.embedding(self.token_task, table_TF)


class TaskContextHolder:
    """Holds the current `TaskContext` of one model."""

    context: TaskContext | None = None

    def get(self) -> TaskContext:
        """Returns the current context. Raises RuntimeError outside `CaMtlModel.forward`: there is no batch."""
        if self.context is None:
            raise RuntimeError("a conditional module was called outside CaMtlModel.forward: no task is set")
        return self.context
