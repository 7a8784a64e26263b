"""The command line shared by all jobs: typed settings, YAML files, one-line errors, and printed reports."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.cli.checks import check, credentials_in
from jobs.cli.errors import fail
from jobs.cli.parser import SettingsParser
from jobs.cli.paths import absolute_paths
from pipeline.config import RunSettings, Settings, TrainSettings
from pipeline.runs.checkpoints.storage import last_part

__all__ = ["fail", "parse_sections", "parse_settings"]


def parse_settings(argv: Sequence[str], description: str, examples: str) -> Settings:
    """Reads a job's command line, without the program's name: `--config file.yaml` and `--section.field value`.

    Later arguments win. `--help` shows `description` and ends with `examples`, which are command lines.

    Returns:
        Settings that workers in other folders can use: paths are absolute and the run's name is filled in. Exactly
        one of `train.max_steps` and `train.epochs` is set.

    Raises:
        SystemExit: 2 after one line on stderr that names the mistake; 0 after `--help` or `--print_config`.
    """
    return parse_sections(argv, description, examples)[0]


def parse_sections(
    argv: Sequence[str], description: str, examples: str, extra: Mapping[str, type] | None = None
) -> tuple[Settings, dict[str, Any]]:
    """Like `parse_settings`, for a job with further sections `extra` {name: dataclass}; returns those as well."""
    parser = SettingsParser(description, examples, extra)
    # No default here, so that epochs contradicts only a max_steps that a user set.
    parser.set_defaults({"train.max_steps": None})
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        parser.set_defaults({"run.tracking_uri": uri})
    settings, sections = parser.settings(_with_config_of_resumed_run(argv))
    if settings.train.max_steps is None and settings.train.epochs is None:
        settings = replace(settings, train=replace(settings.train, max_steps=TrainSettings.max_steps))
    try:
        check(settings)
        settings = absolute_paths(settings, cwd=Path.cwd())
        return replace(settings, run=_named(settings.run, settings.model.variant)), sections
    except ValueError as error:
        fail(str(error))


def _with_config_of_resumed_run(argv: Sequence[str]) -> list[str]:
    """The arguments, with the resumed run's own config.yaml in front unless a `--config` is given."""
    arguments = list(argv)
    words = [word for argument in arguments for word in argument.split("=", 1)]
    if "--run.resume" not in words[:-1] or "--config" in words:
        return arguments
    resumed = words[words.index("--run.resume") + 1]
    config = Path(resumed) / "config.yaml"
    if config.is_file():
        return ["--config", str(config), *arguments]
    if not (stored := _config_in_storage(resumed)):
        return arguments
    folder = tempfile.mkdtemp(prefix="camtl-config-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder) / "config.yaml"
    copy.write_text(stored)
    return ["--config", str(copy), *arguments]


def _config_in_storage(address: str) -> str | None:
    """The text of config.yaml of a run copied to storage; None where `address` holds no such copy."""
    from pipeline.runs.mirror import find_mirror

    if mistake := credentials_in(address):
        fail(f"run.resume: {mistake}")
    try:
        mirror = find_mirror(address)
        return mirror.read("config.yaml") if mirror else None
    except ValueError as error:
        fail(f"run.resume: {error}")


def _named(run: RunSettings, variant: str) -> RunSettings:
    if run.resume is not None and _config_in_storage(run.resume):
        return replace(run, name=last_part(run.resume))
    if run.resume is not None:
        folder = Path(run.resume)
        if run.name not in (folder.name, RunSettings.name):
            raise ValueError(
                f"run.name: {run.name!r} is not the name of the resumed run {folder.name!r}; leave it out"
            )
        return replace(run, name=folder.name, output_dir=str(folder.parent))
    time = datetime.now().strftime("%Y%m%d-%H%M%S")
    return replace(run, name=run.name.replace("{variant}", variant).replace("{time}", time))
