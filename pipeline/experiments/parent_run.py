"""A run of runs (a sweep, a group of seeds): its folder, its settings, and its MLflow run, which is their parent."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import RunSettings, Settings
from pipeline.data.checks import check_writable
from pipeline.runs.directory import CONFIG
from pipeline.runs.mirror import RUN_ID
from pipeline.tracking.runs import resume_run, start_run
from pipeline.tracking.texts import redact


def check_parent(run: RunSettings, kind: str) -> Path:
    """The folder, where it can be had; nothing is written.

    Args:
        run: with the parent's name.
        kind: what to call it, such as "sweep".

    Raises:
        ValueError: the folder exists and is not to be gone on with, there is none to go on with, or it cannot be
            written.
    """
    folder = Path(run.output_dir) / run.name
    if run.resume is None and folder.exists():
        raise ValueError(
            f"{kind} {folder} exists: go on with it by --run.resume {folder}, or give another --run.name"
        )
    if run.resume is not None and not (folder / RUN_ID).is_file():
        raise ValueError(f"run.resume: {folder} is no {kind} (it has no {RUN_ID})")
    check_writable("run.output_dir", run.output_dir)
    return folder


def open_parent(run: RunSettings, config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """The folder and its MLflow run, new or continued; `config` is what is stored, `tags` those of a new run.

    Returns:
        The MLflow run's id.

    Raises:
        ValueError: the tracking server does not answer.
    """
    folder = Path(run.output_dir) / run.name
    if run.resume is not None:
        parent = (folder / RUN_ID).read_text().strip()
        resume_run(run.tracking_uri, parent)
    else:
        told = {**tags, "run_dir": str(folder)}
        parent = start_run(run.tracking_uri, run.experiment, run.name, config, told)
        folder.mkdir(parents=True)
        (folder / RUN_ID).write_text(parent + "\n")
    (folder / CONFIG).write_text(_text(config))
    return parent


def differences(folder: Path, config: Mapping[str, Any], may_change: Collection[str]) -> list[str]:
    """What of a parent's stored settings is no longer so, in words.

    Args:
        folder: of the parent.
        config: the settings now, {section: {name: value}}.
        may_change: dotted names that are passed over, and sections.
    """
    now = yaml.safe_load(_text(config))
    return [
        f"{section}.{name} was {value}, is {now[section].get(name)}"
        for section, values in yaml.safe_load((folder / CONFIG).read_text()).items()
        for name, value in values.items()
        if not {section, f"{section}.{name}"} & set(may_change) and value != now[section].get(name)
    ]


def _text(config: Mapping[str, Any]) -> str:
    """Settings as `config.yaml` holds them."""
    return redact(yaml.safe_dump(config, sort_keys=False))


def child(settings: Settings) -> Settings:
    """Settings of a run in a parent's folder, told to go on with what is there under its name, if anything is."""
    run_dir = Path(settings.run.output_dir) / settings.run.name
    begun = (run_dir / RUN_ID).is_file()
    run = replace(
        settings.run,
        resume=str(run_dir) if begun else None,
        overwrite=run_dir.exists() and not begun,  # a run that was lost before it had begun
    )
    return replace(settings, run=run)
