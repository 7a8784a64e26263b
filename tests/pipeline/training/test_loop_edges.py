"""The training loop where there is little to choose from, and where it cannot go on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.sampling.batches import fetch_from_memory
from pipeline.sampling.state import SamplerState
from pipeline.training.evaluation import EvalSet
from pipeline.training.job import TrainJob
from pipeline.training.loop import train_on_rank
from tests.pipeline.training.test_loop import EVALS, Run, assert_same_weights, run, same
from tests.toy import HEADS, NAMES, TASKS, make_job, make_table


@pytest.mark.parametrize(("task", "rows"), [(0, 40), (0, 1), (2, 24), (2, 1)])
@pytest.mark.parametrize("pool", [8, 16])
def test_one_task_alone_trains_and_goes_on_exactly(
    tmp_path: Path, tiny_backbone: str, task: int, rows: int, pool: int
) -> None:
    """Classification or regression, many rows or one: a regression's candidates are taken as planned."""
    job = job_of_one_task(tiny_backbone, task, rows, candidates_per_step=pool)
    whole, table = Run(tmp_path / "whole"), make_table(task, rows)
    evals = EvalSet.of_tables([NAMES[task]], {NAMES[task]: EVALS[NAMES[task]]})
    arguments: dict[str, Any] = {"eval_sets": evals, "device": torch.device("cpu")}
    train_on_rank(job, fetch=fetch_from_memory([table]), report=whole, **arguments)
    mix = whole.table("mix")
    assert mix["weight"].to_pylist() == [1.0] * 8
    assert mix["candidates"].to_pylist() == [pool] * 8
    assert mix["trained"].to_pylist() == [8] * 8
    assert np.isnan(mix["mean_uncertainty"].to_numpy()).all() == (task == 2), "regression alone has none"
    trained = whole.table("rows")["row_id"].to_numpy()
    if task == 2:
        planned = job.mixture.current(SamplerState.initial(1)).row
        assert trained[:8].tolist() == table["row_id"].to_numpy()[planned[:8]].tolist()
    assert len(set(trained.tolist())) >= min(rows, 8)
    resumed = Run(tmp_path / "resumed")
    train_on_rank(
        job,
        fetch=fetch_from_memory([table]),
        report=resumed,
        resume_from=whole.checkpoint(5),
        **arguments,
    )
    assert same(resumed.table("rows"), whole.table("rows", after=5))
    assert_same_weights(resumed.weights(8), whole.weights(8))


def job_of_one_task(backbone: str, task: int, rows: int, **changes: Any) -> TrainJob:
    name = NAMES[task]
    job = make_job(
        backbone,
        [rows],
        checkpoint_every=5,
        copy_from={0: None} if task == 2 else {},
        model={"variant": "base", "tasks": [name], "heads": {name: HEADS[name]}, "max_seq_length": 16},
        **changes,
    )
    return replace(job, tasks=TASKS[task : task + 1], mixture=replace(job.mixture, tasks=(name,)))


def test_a_training_that_diverges_ends_and_names_the_tasks(tmp_path: Path, tiny_backbone: str) -> None:
    with pytest.raises(ValueError, match=r"the predictions for task .*'two'.* are not finite") as caught:
        run(tmp_path, tiny_backbone, learning_rate=1e30, new_parameters_learning_rate=1e30)
    assert "\n" not in str(caught.value)
