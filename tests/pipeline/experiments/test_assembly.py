"""A job says what the settings say."""

from pathlib import Path

import pytest

from pipeline.experiments.assembly import build_job, select_tasks
from tests.pipeline.small_run import BATCH, TASKS, make_settings


def test_a_job_says_what_the_settings_say(tmp_path: Path, tiny_backbone: str) -> None:
    settings = make_settings(tmp_path, tiny_backbone, train={"new_parameters_learning_rate": None})
    job = build_job(settings, select_tasks(settings))
    assert job.mixture.tasks == TASKS
    assert job.mixture.candidates_per_step == 2 * BATCH
    assert job.selection.copy_from == {2: 1}, "similarity takes entailment's uncertainty"
    assert job.new_parameters_learning_rate == job.learning_rate
    alone = make_settings(tmp_path, tiny_backbone, data={"tasks": ("similarity",)})
    assert build_job(alone, select_tasks(alone)).selection.copy_from == {0: None}


def test_algorithm_1_draws_a_batch_from_every_task(tmp_path: Path, tiny_backbone: str) -> None:
    settings = make_settings(tmp_path, tiny_backbone, sampler={"pool": "per_task"})
    job = build_job(settings, select_tasks(settings))
    assert job.mixture.candidates_per_step == len(TASKS) * BATCH
    assert job.mixture.policy == "uniform"
    assert job.selection.per_task_pool


def test_without_selection_the_pool_is_the_batch(tmp_path: Path, tiny_backbone: str) -> None:
    settings = make_settings(
        tmp_path, tiny_backbone, sampler={"select": "none", "pool": 1.0, "policy": "size"}
    )
    job = build_job(settings, select_tasks(settings))
    assert job.mixture.candidates_per_step == BATCH
    assert job.mixture.policy == "size"
    assert not job.selection.by_uncertainty


def test_a_pool_smaller_than_the_batch_is_refused(tmp_path: Path, tiny_backbone: str) -> None:
    settings = make_settings(tmp_path, tiny_backbone, sampler={"pool": 0.5})
    with pytest.raises(
        ValueError, match=r"sampler.pool 0.5 has no batch of 8 rows to choose: give 1 or more"
    ):
        build_job(settings, select_tasks(settings))


@pytest.mark.parametrize("pool", [2.0, "per_task"])
def test_a_bound_on_epochs_reaches_the_plan(tmp_path: Path, tiny_backbone: str, pool: float | str) -> None:
    settings = make_settings(tmp_path, tiny_backbone, sampler={"pool": pool, "max_epochs_per_task": 1.5})
    assert build_job(settings, select_tasks(settings)).mixture.options.max_epochs == 1.5
