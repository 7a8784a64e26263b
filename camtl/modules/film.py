"""FiLM (Perez et al. 2018): the hypernetwork that generates the weights of every conditional part.

Shape suffixes: T tasks, Z size of the task embedding, F features modulated.
"""

from torch import Tensor, nn


class FiLM(nn.Module):
    """One linear layer from a task's condition to a scale and a shift (paper §2.1, eq. 2)."""

    def __init__(self, condition_size: int, features: int) -> None:
        super().__init__()
        self.generator = nn.Linear(condition_size, 2 * features)

    def forward(self, condition_TZ: Tensor) -> tuple[Tensor, Tensor]:
        """Condition [T, Z] -> (scale [T, F], shift [T, F]); the scale is 1 + gamma."""
        gamma_TF, beta_TF = self.generator(condition_TZ).chunk(2, dim=-1)
        return 1 + gamma_TF, beta_TF
