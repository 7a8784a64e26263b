"""The training job of given settings."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.experiments.assembly import build_job, select_tasks
from pipeline.training.job import TrainJob
from tests.pipeline.small_run import BATCH, TASKS, make_settings


def job_of(folder: Path, backbone: str, **sections: dict[str, Any]) -> TrainJob:
    settings = make_settings(folder, backbone, **sections)
    return build_job(settings, select_tasks(settings))


@pytest.mark.parametrize(
    ("sampler", "candidates", "policy", "by_uncertainty"),
    [
        ({}, 2 * BATCH, "uncertainty", True),
        ({"pool": "per_task", "policy": "size"}, len(TASKS) * BATCH, "uniform", True),  # Algorithm 1
        ({"select": "none", "pool": 1.0, "policy": "size"}, BATCH, "size", False),
    ],
)
def test_the_pool_follows_from_the_selection(
    tmp_path: Path,
    tiny_backbone: str,
    sampler: dict[str, Any],
    candidates: int,
    policy: str,
    by_uncertainty: bool,
) -> None:
    job = job_of(tmp_path, tiny_backbone, sampler={**sampler, "max_epochs_per_task": 1.5})
    assert job.mixture.tasks == TASKS
    assert (job.mixture.candidates_per_step, job.mixture.policy) == (candidates, policy)
    assert job.mixture.options.max_epochs == 1.5
    assert job.selection.by_uncertainty == by_uncertainty
    assert job.selection.per_task_pool == (sampler.get("pool") == "per_task")


def test_similarity_copies_entailments_uncertainty_if_it_is_in_the_run(
    tmp_path: Path, tiny_backbone: str
) -> None:
    job = job_of(tmp_path, tiny_backbone, train={"new_parameters_learning_rate": None})
    assert job.selection.copy_from == {2: 1}
    assert job.new_parameters_learning_rate == job.learning_rate
    assert job_of(tmp_path, tiny_backbone, data={"tasks": ("similarity",)}).selection.copy_from == {0: None}


@pytest.mark.parametrize(("steps", "epochs", "expected"), [(7, None, 7), (None, 0.5, 4), (None, 0.01, 1)])
def test_steps_are_counted_once_the_rows_are_known(
    tmp_path: Path, tiny_backbone: str, steps: int | None, epochs: float | None, expected: int
) -> None:
    settings = make_settings(tmp_path, tiny_backbone, train={"max_steps": steps, "epochs": epochs})
    tasks = select_tasks(settings)
    assert build_job(settings, tasks).mixture.max_steps == 0
    assert build_job(settings, tasks, (4 * BATCH, 2 * BATCH, 2 * BATCH)).mixture.max_steps == expected


def test_a_pool_or_a_batch_that_is_too_small_is_refused(tmp_path: Path, tiny_backbone: str) -> None:
    """The other contradictions have their table in tests/jobs/test_refused_settings.py."""
    with pytest.raises(
        ValueError, match=r"sampler.pool 0.5 has no batch of 8 rows to choose: give 1 or more"
    ):
        job_of(tmp_path, tiny_backbone, sampler={"pool": 0.5})
    with pytest.raises(ValueError, match=r"train.batch_size 1 is less than a row for each of 2 workers"):
        job_of(tmp_path, tiny_backbone, train={"batch_size": 1})
