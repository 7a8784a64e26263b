"""What `tune_mtl.py` refuses before it starts anything: one line, exit code 2."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.tune_mtl import main
from tests.jobs.refusal import refusal

SPACE: dict[str, Any] = {"train.learning_rate": {"loguniform": [1e-5, 1e-3]}}
LAYERS: dict[str, Any] = {"model.freeze": {"choice": ["embeddings", "0-99"]}}
GRID: dict[str, Any] = {"run.seed": {"grid": list(range(5))}}
REFUSALS: list[tuple[dict[str, Any], str, str]] = [  # space, argument, message
    ({"sampler.polcy": {"choice": ["size"]}}, "", "sweep.space: sampler.polcy: unknown setting 'sampler.polcy': did"),
    ({"train.batch_size": {"uniform": [8, 32]}}, "", "train.batch_size: expected a whole number"),
    ({"model.dropout": {"uniform": [0.5, 1.5]}}, "", "model.dropout: 1.5 must be at least 0 and below 1"),
    ({"sampler.policy": {"choice": ["size", "sizes"]}}, "", "sampler.policy: expected uniform, size, "),
    ({"sampler.select": {"choice": ["none", "uncertainty"]}}, "", "sampler.select: 'none' trains on every candidate"),
    (LAYERS, "--data.max_seq_length=32", "a trial could not start with model.freeze 0-99: freeze='0-99': the encoder"),
    (GRID, "--sweep.max_trials=4", "its grid has 5 points, more than sweep.max_trials 4"),
    (GRID, "--sweep.search=optuna", "sweep.search: optuna suggests"),
    (SPACE, "--sweep.max_trials=0", "sweep.max_trials: 0 must be 1 or more"),
    (SPACE, "--sweep.objectives=[average,rows_trained]", "several objectives need --sweep.search optuna"),
    (SPACE, "--sweep.objectives=[accuracy]", "unknown objective 'accuracy'"),
    (SPACE, "--sweep.objectives=[average,average]", "list average, and each objective once"),
    (SPACE, "--run.seeds=[1,2]", "run.seeds: a trial has one seed"),
    (SPACE, "--train.epochs=1", "train.epochs: trials are compared at steps"),
    (SPACE, "--train.evaluate=asynchronous", "train.evaluate: "),
    (SPACE, "--run.resume=nowhere", "is no sweep"),
]  # fmt: skip


@pytest.mark.parametrize(("space", "argument", "message"), REFUSALS)
def test_a_mistake_is_refused_in_one_line(
    empty_folder: Path, tiny_backbone: str, space: dict[str, Any], argument: str, message: str
) -> None:
    (empty_folder / "sweep.yaml").write_text(yaml.safe_dump({"sweep": {"space": space}}))
    arguments = ["--config", "sweep.yaml", f"--model.backbone={tiny_backbone}", *argument.split()]
    assert message in refusal(empty_folder, *arguments, job=main)
