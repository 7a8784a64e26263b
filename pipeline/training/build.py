"""The model that a job describes, with what trains it."""

import torch
from torch import nn

from camtl import CaMtlConfig, CaMtlModel
from camtl.freezing import freeze
from pipeline.training.job import TrainJob
from pipeline.training.learner import Learner, make_optimizer, make_schedule
from pipeline.training.scoring import Precision


def build_learner(job: TrainJob, device: torch.device) -> Learner:
    """Model, optimiser and schedule before the first step, the same on every rank.

    Args:
        job: what to train.
        device: of this rank.
    """
    torch.manual_seed(job.mixture.seed)
    model = CaMtlModel.from_backbone(job.backbone, CaMtlConfig(**job.model))
    nn.Module.to(model, device)
    freeze(model, job.freeze)
    if job.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if job.compile:
        model.encode = torch.compile(model.encode, dynamic=True)  # type: ignore[method-assign]
    optimizer = make_optimizer(
        model,
        learning_rate=job.learning_rate,
        new_parameters_learning_rate=job.new_parameters_learning_rate,
        weight_decay=job.weight_decay,
    )
    return Learner(
        model,
        optimizer,
        make_schedule(optimizer, job.mixture.max_steps, job.warmup_proportion),
        Precision.of(device, job.precision),
        max_grad_norm=job.max_grad_norm,
        gradient_accumulation=job.gradient_accumulation,
        task_factors=job.mixture.options.factors,
    )
