"""Figures show what they draw."""

import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from pipeline.runs.figures import mix_figure, scores_figure
from pipeline.runs.plotting import COLOURS, INK

SCORES = {"cola": {"mcc": -3.0}, "mrpc": {"f1": 84.0, "accuracy": 76.0}}


def make_mix(tasks: int, steps: int) -> pa.Table:
    """Every step and task; the last task has no candidates, unless it is the only one."""
    generator, task = np.random.default_rng(0), np.tile(np.arange(tasks), steps)
    drawn = (task < tasks - 1) | (tasks == 1)
    return pa.table(
        {
            "step": np.repeat(np.arange(1, steps + 1), tasks),
            "task": [f"task_{number}" for number in task],
            "weight": (task + 1) / tasks,
            "mean_uncertainty": np.where(drawn, generator.uniform(0.2, 0.9, len(task)), np.nan),
            "trained": np.where(drawn, generator.integers(1, 4, len(task)), 0),
        }
    )


def colours_in(path: pathlib.Path) -> set[str]:
    pixels = pd.DataFrame(imread(path)[..., :3].reshape(-1, 3)).drop_duplicates()
    return {to_hex(pixel).upper() for pixel in pixels.itertuples(index=False)}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("tasks", "steps"), [(1, 1), (8, 150), (24, 3)])
def test_mix_figure_draws_a_line_for_every_task(tmp_path: pathlib.Path, tasks: int, steps: int) -> None:
    path = tmp_path / "mix.png"
    mix = make_mix(tasks, steps)
    mix_figure(mix, str(path))
    assert set(COLOURS[:tasks]) <= colours_in(path)
    assert list(tmp_path.iterdir()) == [path]
    mix_figure(
        pa.concat_tables([mix.slice(tasks), mix.slice(0, tasks)]), str(tmp_path / "any order, in chunks.png")
    )
    assert np.array_equal(imread(path), imread(tmp_path / "any order, in chunks.png"))


@pytest.mark.filterwarnings("error")
def test_scores_figure_shows_the_model_and_the_majority_answer(tmp_path: pathlib.Path) -> None:
    results, majority = {"tasks": SCORES, "average": 38.5}, {"cola": {"mcc": 0.0}, "mrpc": {"f1": 81.6}}
    for answers, colours in ((majority, {*COLOURS[:2], INK}), ({}, {COLOURS[0]})):
        scores_figure(results, answers, str(tmp_path / "scores.png"))
        assert colours <= colours_in(tmp_path / "scores.png")


def test_empty_results_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="no steps"):
        mix_figure(make_mix(2, 1).slice(0, 0), str(tmp_path / "mix.png"))
    with pytest.raises(ValueError, match="no tasks"):
        scores_figure({"tasks": {}, "average": 0.0}, {}, str(tmp_path / "scores.png"))
    assert not list(tmp_path.iterdir())
