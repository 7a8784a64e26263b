"""A sweep's command line: the settings of a run, and a space whose values are held against the same rules."""

import json
from collections.abc import Sequence
from typing import Any

from jobs.cli import parse_sections
from jobs.cli.checks import check
from jobs.cli.errors import fail
from jobs.cli.parser import FIELDS, SettingsParser
from pipeline.config import Settings
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import Space, parse_space, values_of, with_values

RULES: dict[str, tuple[Any, str]] = {
    "max_trials": (lambda value: value >= 1, "1 or more"),
    "max_hours": (lambda value: value > 0, "more than 0"),
    "max_concurrent_trials": (lambda value: value >= 1, "1 or more"),
    "grace_steps": (lambda value: value >= 1, "1 or more"),
    "reduction_factor": (lambda value: value >= 2, "2 or more"),
    "retries": (lambda value: value >= 0, "0 or more"),
}


def parse_sweep(
    argv: Sequence[str], description: str, examples: str
) -> tuple[Settings, SweepSettings, Space]:
    """Reads a sweep's command line; every option and both ends of every range are checked as settings are.

    Raises:
        SystemExit: 2 after one line on stderr that names what is wrong; 0 after `--help`.
    """
    settings, own = parse_sections(argv, description, examples, {"sweep": SweepSettings})
    wanted: SweepSettings = own["sweep"]
    for name, (holds, expected) in RULES.items():
        value = getattr(wanted, name)
        if value is not None and not holds(value):
            fail(f"sweep.{name}: {value!r} must be {expected}")
    try:
        space = parse_space(wanted.space, list(FIELDS))
        _check_values(settings, space)
    except ValueError as error:
        fail(str(error))
    return settings, wanted, space


def _check_values(settings: Settings, space: Space) -> None:
    parser = SettingsParser("", "")
    whole = {dimension.name: dimension.edges()[0] for dimension in space}
    for dimension in space:
        for edge in dimension.edges():
            values = values_of(space, {**whole, dimension.name: edge})
            # Types first: a parser knows that 0.5 is no whole number, and what a list is.
            words = [f"--{name}={_word(value)}" for name, value in values.items()]
            parsed, _ = parser.settings(words)
            for name, value in values.items():
                section, field = name.split(".")
                if (typed := getattr(getattr(parsed, section), field)) != _as_setting(value):
                    raise ValueError(f"sweep.space: {name}: {value!r} is read as {typed!r}: write it so")
            check(with_values(settings, values))


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _as_setting(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
