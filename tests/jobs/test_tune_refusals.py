"""What `tune_mtl.py` refuses before it takes anything: one line, exit code 2."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.tune_mtl import main
from tests.jobs.refusal import refusal

SPACE: dict[str, Any] = {"train.learning_rate": {"loguniform": [1e-5, 1e-3]}}
WRONG: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "nothing is searched": ({}, [], "sweep.space is empty"),
    "a name that is no setting": (
        {"sampler.polcy": {"choice": ["size"]}},
        [],
        "sweep.space: sampler.polcy: unknown setting 'sampler.polcy': did you mean 'sampler.policy'",
    ),
    "a value of another type": (
        {"train.batch_size": {"uniform": [8, 32]}},
        [],
        "train.batch_size: expected a whole number",
    ),
    "a value that no rule allows": (
        {"model.dropout": {"uniform": [0.5, 1.5]}},
        [],
        "model.dropout: 1.5 must be at least 0 and below 1",
    ),
    "an option that is none": (
        {"sampler.policy": {"choice": ["size", "sizes"]}},
        [],
        "sampler.policy: expected uniform, size, temperature, uncertainty, got 'sizes'",
    ),
    "a model that cannot be": (
        {"model.freeze": {"choice": ["embeddings", "0-99"]}},
        ["--data.max_seq_length=32"],
        "sweep.space: a trial could not start with model.freeze 0-99: freeze='0-99': the encoder's layers are",
    ),
    "a grid that is larger than the sweep": (
        {"run.seed": {"grid": list(range(5))}},
        ["--sweep.max_trials=4"],
        "sweep.space: its grid has 5 points, more than sweep.max_trials 4",
    ),
    "a grid for Optuna": (
        {"run.seed": {"grid": [1, 2]}},
        ["--sweep.search=optuna"],
        "sweep.search: optuna suggests",
    ),
    "no trials": (SPACE, ["--sweep.max_trials=0"], "sweep.max_trials: 0 must be 1 or more"),
    "two objectives at random": (SPACE, ["--sweep.objectives=[average,rows_trained]"], "several need"),
    "an objective that is none": (SPACE, ["--sweep.objectives=[accuracy]"], "unknown objective 'accuracy'"),
    "scores that come elsewhere": (SPACE, ["--train.evaluate=asynchronous"], "train.evaluate: "),
    "options that contradict the rest": (
        {"sampler.select": {"choice": ["none", "uncertainty"]}},
        [],
        "sampler.select: 'none' trains on every candidate and needs --sampler.pool 1",
    ),
    "a sweep that is not there": (SPACE, ["--run.resume=nowhere"], "is no sweep"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.mark.parametrize("case", WRONG)
def test_it_is_refused_in_one_line(folder: Path, tiny_backbone: str, case: str) -> None:
    space, arguments, told = WRONG[case]
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"sweep": {"space": space}}))
    job: Callable[[], None] = main
    line = refusal(folder, "--config", "sweep.yaml", f"--model.backbone={tiny_backbone}", *arguments, job=job)
    assert told in line
