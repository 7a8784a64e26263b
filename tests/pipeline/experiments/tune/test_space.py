"""A search space: its refusals, the size of its grid and the settings of a draw."""

from typing import Any

import pytest

from jobs.cli.parser import FIELDS
from pipeline.config import Settings, with_values
from pipeline.experiments.tune.space import grid_size, parse_space, values_of

KNOWN = list(FIELDS)
GROUP = {
    "plain": {"sampler.select": "none", "sampler.pool": 1},
    "uncertain": {"sampler.select": "uncertainty", "sampler.pool": 2},
}


def test_a_draw_sets_the_settings_of_its_dimensions() -> None:
    space = parse_space(
        {
            "train.learning_rate": {"loguniform": [1e-5, 1e-3]},
            "data.tasks": {"choice": [["sentiment"], ["entailment", "topic"]]},
            "selection": {"grid": GROUP},
        },
        KNOWN,
    )
    drawn = {"train.learning_rate": 1e-4, "data.tasks": '["entailment", "topic"]', "selection": "plain"}
    settings = with_values(Settings(), values_of(space, drawn))
    assert settings.train.learning_rate == 1e-4
    assert settings.data.tasks == ("entailment", "topic")
    assert (settings.sampler.select, settings.sampler.pool) == ("none", 1)
    assert settings.model == Settings().model


def test_the_size_of_a_grid_is_that_of_all_its_points() -> None:
    grid = {"run.seed": {"grid": [0, 1, 2]}, "row": {"grid": GROUP}}
    for space in (grid, {**grid, "model.dropout": {"uniform": [0, 0.1]}}):
        assert grid_size(parse_space(space, KNOWN)) == 6


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "sweep.space is empty"),
        ({"train.learning_rte": {"uniform": [0, 1]}}, "unknown setting 'train.learning_rte': did you mean"),
        ({"learning_rate": {"uniform": [0, 1]}}, "'learning_rate': did you mean 'train.learning_rate'"),
        ({"train.learning_rate": {"unifrm": [0, 1]}}, "unknown kind 'unifrm': did you mean 'uniform'"),
        ({"train.learning_rate": 3}, "train.learning_rate must be one of uniform, loguniform"),
        ({"train.learning_rate": {"uniform": [1, 0]}}, r"uniform \[1, 0\] is empty or infinite"),
        ({"train.learning_rate": {"uniform": [0, float("inf")]}}, "is empty or infinite"),
        ({"train.learning_rate": {"loguniform": [0, 1]}}, "low must be above 0"),
        ({"train.learning_rate": {"uniform": [1]}}, r"uniform takes \[low, high\]"),
        ({"train.batch_size": {"randint": [1.5, 3]}}, "randint takes whole numbers"),
        ({"sampler.policy": {"choice": []}}, "choice has no options"),
        ({"sampler.policy": {"choice": ["size", "size"]}}, "an option is listed twice"),
        ({"run.output_dir": {"choice": ["a", "b"]}}, "is the same for all trials"),
        ({"cluster.num_workers": {"choice": [1, 2]}}, "is the same for all trials"),
        (
            {"row": {"grid": {**GROUP, "odd": {"sampler.pool": 3}}}},
            "option odd: sampler.select is set by other",
        ),
        ({"row": {"grid": GROUP}, "sampler.pool": {"choice": [1, 2]}}, "sampler.pool is set by row and by"),
    ],
)
def test_an_invalid_space_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_space(spec, KNOWN)
