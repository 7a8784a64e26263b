"""What the conditional modules must know of the batch in hand: the tasks, and which token is whose.

The encoder is used as transformers ships it, so its modules cannot be handed a task. They read it
from one holder that the model fills before every layer (and so again when a layer is recomputed).

Shape suffixes: S sequences, W tokens a sequence, T tasks, Z size of the task embedding, F features.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class TaskContext:
    """Conditions of all tasks and the task of every token.

    Attributes:
        condition: transformed task embeddings [T, Z], the input of every generator in the layers.
        token_task: task id of every token, [S, W]; or [S, 1] where a sequence is one task's.
    """

    condition: Tensor
    token_task: Tensor

    def per_token(self, table_TF: Tensor) -> Tensor:
        """A value per task [T, F] -> the value of each token's task [S, W, F] (or [S, 1, F])."""
        return F.embedding(self.token_task, table_TF)


class TaskContextHolder:
    """The place where the modules of one model find the current `TaskContext`."""

    def __init__(self) -> None:
        self.context: TaskContext | None = None

    def get(self) -> TaskContext:
        """The current context.

        Raises:
            RuntimeError: outside of `CaMtlModel.forward`, where there is no batch.
        """
        if self.context is None:
            raise RuntimeError(
                "a conditional module was called outside of CaMtlModel.forward: no task is set"
            )
        return self.context
