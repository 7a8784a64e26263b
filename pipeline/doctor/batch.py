"""One step of the run's own model, here: whether the weights load and a loss is a number."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from camtl import TokenRows
from pipeline.doctor.finding import Finding
from pipeline.training.job import TrainJob
from pipeline.training.learner import build_learner

NAME = "one batch"


@dataclass(frozen=True)
class Tried:
    """What a step gave.

    Attributes:
        losses: Mean loss of the rows of each task that had some.
        bad_gradients: Names of the parameters whose gradient held a value that is no number.
        build_seconds: Until the model was there.
        step_seconds: Forward, backward and update.
    """

    losses: dict[str, float]
    bad_gradients: tuple[str, ...]
    build_seconds: float
    step_seconds: float


def try_batch(job: TrainJob, rows: TokenRows, device: torch.device) -> Tried:
    """Builds the model of a run as its ranks do, and trains it one step on these rows.

    Args:
        job: What the ranks would be told.
        rows: A few rows; task ids are places in the job's tasks.
        device: Where.
    """
    began = time.perf_counter()
    mixture = replace(job.mixture, max_steps=1)
    learner = build_learner(replace(job, mixture=mixture, warmup_proportion=0.0), device)
    bad: list[str] = []
    for name, parameter in learner.model.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda p, name=name: _note(name, p, bad))
    built = time.perf_counter()
    counts = np.bincount(rows.task_ids, minlength=len(job.tasks)).astype(np.float64)
    losses, _ = learner.step(rows, counts)
    summed = losses.cpu().tolist()
    found = {
        task.name: loss / count
        for task, loss, count in zip(job.tasks, summed, counts.tolist(), strict=True)
        if count
    }
    return Tried(found, tuple(bad), built - began, time.perf_counter() - built)


def _note(name: str, parameter: torch.Tensor, bad: list[str]) -> None:
    if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
        bad.append(name)


def check_batch(job: TrainJob, rows: TokenRows, *, on_gpu: bool) -> list[Finding]:
    """Whether a step of the run's model on a few rows of each task goes well."""
    device = torch.device("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
    tried = try_batch(job, rows, device)
    return [judged(tried, len(rows), device.type)]


def judged(tried: Tried, rows: int, device: str) -> Finding:
    """What to say of a step on so many rows."""
    odd = [f"{task} {loss}" for task, loss in tried.losses.items() if not np.isfinite(loss)]
    if odd:
        return Finding(
            NAME,
            False,
            f"the loss is no number: {', '.join(odd)}",
            "try train.precision fp32, or another backbone",
        )
    if tried.bad_gradients:
        return Finding(
            NAME,
            False,
            f"{len(tried.bad_gradients)} gradients are no numbers, the first of {tried.bad_gradients[0]}",
            "try train.precision fp32, or another backbone",
        )
    mean = sum(tried.losses.values()) / len(tried.losses)
    return Finding(
        NAME,
        True,
        f"{rows} rows of {len(tried.losses)} tasks on {device}: mean loss {mean:.2f}, the model built in "
        f"{tried.build_seconds:.1f} s, the step took {tried.step_seconds:.1f} s",
    )
