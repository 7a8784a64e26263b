"""The figures of a sweep, drawn from records."""

from pathlib import Path

import matplotlib.image
import numpy as np

from jobs.cli.parser import FIELDS
from pipeline.experiments.tune.figures import importance_figure, parallel_figure, pareto_figure
from pipeline.experiments.tune.records import FINISHED, STOPPED, TrialRecord
from pipeline.experiments.tune.space import parse_space

RATE, POLICY = "train.learning_rate", "sampler.policy"
SPACE = parse_space(
    {
        RATE: {"loguniform": [1e-5, 1e-3]},
        POLICY: {"choice": ["size", "uniform"]},
        "model.dropout": {"uniform": [0, 0.5]},
    },
    list(FIELDS),
)


def records(number: int, step: float = 1.0) -> list[TrialRecord]:
    draws = np.random.default_rng(0)
    trials = []
    for n in range(number):
        drawn = {
            RATE: 10 ** draws.uniform(-5, -3),
            POLICY: ("size", "uniform")[n % 2],
            "model.dropout": n / 20,
        }
        status = FINISHED if n else STOPPED
        trials.append(TrialRecord(str(n), n, drawn, status, average=50 + n * step, rows_trained=100 * n))
    return trials


def test_the_figures_are_drawn(tmp_path: Path) -> None:
    parallel_figure(SPACE, records(6), tmp_path / "parallel.png")
    parallel_figure(SPACE, records(1), tmp_path / "single.png")
    assert importance_figure(SPACE, records(6), tmp_path / "importance.png")
    pareto_figure(records(6)[1:], ["1", "5"], ("average", "rows_trained"), tmp_path / "pareto.png")
    assert len(images := list(tmp_path.glob("*.png"))) == 4
    assert all(matplotlib.image.imread(path).std() > 0 for path in images)


def test_importance_needs_four_finished_trials_with_different_averages(tmp_path: Path) -> None:
    for trials in (records(4), records(6, step=0.0)):
        assert not importance_figure(SPACE, trials, tmp_path / "importance.png")
    assert not list(tmp_path.iterdir())
