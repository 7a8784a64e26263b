"""One training step of the run's model: whether the weights load, and the loss and gradients are finite."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from camtl import TokenRows
from pipeline.doctor.finding import Finding
from pipeline.training.job import TrainJob
from pipeline.training.learner import build_learner

REMEDY = "try train.precision fp32, or another backbone"


def check_batch(job: TrainJob, rows: TokenRows, *, on_gpu: bool) -> Finding:
    """Builds the model of a run as its ranks do and trains it for one step on a few rows, on a GPU if there is one."""
    device = torch.device("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
    start = time.perf_counter()
    job = replace(job, mixture=replace(job.mixture, max_steps=1), warmup_proportion=0.0)
    learner = build_learner(job, device)
    not_finite: list[str] = []

    def check_gradient(name: str, parameter: torch.Tensor) -> None:
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            not_finite.append(name)

    for name, parameter in learner.model.named_parameters():
        if parameter.requires_grad:  # the step clears the gradients
            parameter.register_post_accumulate_grad_hook(lambda p, name=name: check_gradient(name, p))
    built = time.perf_counter()
    counts = np.bincount(rows.task_ids, minlength=len(job.tasks)).astype(np.float64)
    summed = learner.step(rows, counts)[0].cpu().tolist()
    done = time.perf_counter()
    losses = {task.name: summed[i] / counts[i] for i, task in enumerate(job.tasks) if counts[i]}
    if bad := [f"{task} {loss}" for task, loss in losses.items() if not np.isfinite(loss)]:
        return Finding("one batch", False, f"the loss is not finite: {', '.join(bad)}", REMEDY)
    if not_finite:
        message = f"{len(not_finite)} gradients are not finite, the first of {not_finite[0]}"
        return Finding("one batch", False, message, REMEDY)
    message = f"{len(rows)} rows of {len(losses)} tasks on {device.type}: "
    message += f"mean loss {sum(losses.values()) / len(losses):.2f}, "
    message += f"the model built in {built - start:.1f} s, the step took {done - built:.1f} s"
    return Finding("one batch", True, message)
