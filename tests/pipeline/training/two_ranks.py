"""The work of two processes that tests join by gloo; each writes its results into a folder."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from camtl import CaMtlModel, TokenRows
from pipeline.training.learner import Learner, make_optimizer, make_schedule
from tests.pipeline.training.short_run import PLAIN, SIZES, run
from tests.toy import NAMES, make_job, make_model, make_rows, make_table

# Per step the rows of both ranks. In the first no rank has all tasks; in the second the regression has
# no row at all; in the third a rank has fewer rows than micro-batches.
STEPS: tuple[tuple[TokenRows, TokenRows], ...] = (
    (make_rows([5, 9, 7, 3], [0, 0, 2, 0], seed=1), make_rows([4, 12, 6], [1, 1, 0], seed=2)),
    (make_rows([5, 8, 7], [0, 1, 0], seed=3), make_rows([9, 4, 6], [1, 1, 1], seed=4)),
    (make_rows([6, 5, 5, 8], [0, 2, 0, 2], seed=5), make_rows([7], [1], seed=6)),
)
ACCUMULATIONS = (1, 2)


EVALS = {
    name: {"validation": make_table(task, rows, seed=1)}
    for (task, name), rows in zip(enumerate(NAMES), (7, 1, 4), strict=True)
}


def make_learner(model: CaMtlModel, optimizer: Optimizer | None = None, **changes: Any) -> Learner:
    """A learner that does not clip, because clipping would hide a gradient of another scale."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    arguments: dict[str, Any] = {"max_grad_norm": 1e9, "gradient_accumulation": 1}
    return Learner(model, optimizer, make_schedule(optimizer, 10, 0.0), PLAIN, **(arguments | changes))


def learn(rows: list[TokenRows], accumulation: int) -> dict[str, Tensor]:
    """Parameters after steps on these rows of this rank, with the global counts."""
    model = make_model("base")
    optimizer = make_optimizer(model, learning_rate=1e-2, new_parameters_learning_rate=2e-2, weight_decay=0.1)
    for group in optimizer.param_groups:
        group["eps"] = 1e-2  # otherwise AdamW makes a full step of a gradient that is only rounding
    learner = make_learner(model, optimizer, gradient_accumulation=accumulation)
    for part, ranks in zip(rows, STEPS, strict=True):
        task_ids = np.concatenate([of_rank.task_ids for of_rank in ranks])
        learner.step(part, np.bincount(task_ids, minlength=len(NAMES)).astype(np.float64))
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def work(rank: int, folder: str, backbone: str) -> None:
    """Runs in one of the two processes."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    plain = make_job(
        backbone, SIZES, by_uncertainty=False, policy="size", candidates_per_step=8, eval_every=4
    )
    results: dict[str, Any] = {
        "learned": {number: learn([step[rank] for step in STEPS], number) for number in ACCUMULATIONS},
        "plain": run(Path(folder) / "plain", plain, evals=EVALS),
        "uncertain": run(Path(folder) / "uncertain", make_job(backbone, SIZES, eval_every=4), evals=EVALS),
    }
    torch.save(results, Path(folder) / f"rank-{rank}.pt")
    dist.destroy_process_group()
