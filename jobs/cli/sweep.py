"""The command line of a sweep: the settings of a run, and a space whose values obey the same rules."""

import json
from collections.abc import Sequence
from typing import Any

from jobs.cli import parse_sections
from jobs.cli.checks import check
from jobs.cli.errors import fail
from jobs.cli.parser import FIELDS, SettingsParser
from pipeline.config import Settings, with_values
from pipeline.experiments.tune.settings import SweepSettings
from pipeline.experiments.tune.space import Space, edge_draws, parse_space, values_of

MINIMUM = {"max_trials": 1, "max_concurrent_trials": 1, "grace_steps": 1, "reduction_factor": 2, "retries": 0}


def parse_sweep(
    argv: Sequence[str], description: str, examples: str
) -> tuple[Settings, SweepSettings, Space]:
    """Parses a sweep's command line. Every option and both ends of every range are checked as settings are.

    Raises:
        SystemExit: 2 after one line on stderr that names what is wrong; 0 after `--help`.
    """
    settings, sections = parse_sections(argv, description, examples, {"sweep": SweepSettings})
    wanted: SweepSettings = sections["sweep"]
    for name, minimum in MINIMUM.items():
        if (value := getattr(wanted, name)) is not None and value < minimum:
            fail(f"sweep.{name}: {value!r} must be {minimum} or more")
    if wanted.max_hours is not None and wanted.max_hours <= 0:
        fail(f"sweep.max_hours: {wanted.max_hours!r} must be more than 0")
    try:
        space = parse_space(wanted.space, list(FIELDS))
        _check_values(settings, space)
    except ValueError as error:
        fail(str(error))
    return settings, wanted, space


def _check_values(settings: Settings, space: Space) -> None:
    parser = SettingsParser("", "")
    for drawn in edge_draws(space):
        values = values_of(space, drawn)
        # Types first: the parser refuses 0.5 for a whole number, and knows what a list is.
        arguments = [f"--{n}={v if isinstance(v, str) else json.dumps(v)}" for n, v in values.items()]
        parsed, _ = parser.settings(arguments)
        expected = with_values(parsed, values)
        for name, value in values.items():
            if _get(parsed, name) != _get(expected, name):
                raise ValueError(
                    f"sweep.space: {name}: {value!r} reads as {_get(parsed, name)!r}: write it so"
                )
        check(with_values(settings, values))


def _get(settings: Settings, name: str) -> Any:
    section, field = name.split(".")
    return getattr(getattr(settings, section), field)
