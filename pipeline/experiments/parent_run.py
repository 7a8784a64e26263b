"""The parent of several runs (a sweep, a group of seeds): its folder, its settings and its MLflow run."""

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
    """Returns the parent's folder; writes nothing. Messages call it `kind`, such as "sweep".

    Raises:
        ValueError: The folder exists and is not to be resumed, is no parent, or cannot be written.
    """
    folder = Path(run.output_dir) / run.name
    if run.resume is None and folder.exists():
        raise ValueError(
            f"{kind} {folder} exists: continue it with --run.resume {folder}, or set another --run.name"
        )
    if run.resume is not None and not (folder / RUN_ID).is_file():
        raise ValueError(f"run.resume: {folder} is no {kind} (it has no {RUN_ID})")
    check_writable("run.output_dir", run.output_dir)
    return folder


def open_parent(run: RunSettings, config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Creates or resumes the parent's folder and MLflow run; returns the id of the latter.

    `config`, {section: {name: value}}, is stored in the folder; a new MLflow run gets `tags`. Raises ValueError if the
    tracking server does not answer.
    """
    folder = Path(run.output_dir) / run.name
    if run.resume is not None:
        parent = (folder / RUN_ID).read_text().strip()
        resume_run(run.tracking_uri, parent)
    else:
        tags = {**tags, "run_dir": str(folder)}
        parent = start_run(run.tracking_uri, run.experiment, run.name, config, tags)
        folder.mkdir(parents=True)
        (folder / RUN_ID).write_text(parent + "\n")
    (folder / CONFIG).write_text(_to_yaml(config))
    return parent


def changed_settings(folder: Path, config: Mapping[str, Any], may_change: Collection[str]) -> list[str]:
    """Returns a line for each setting that differs from the parent's in `folder`.

    `may_change` has the dotted names and the sections that are not compared.
    """
    now = yaml.safe_load(_to_yaml(config))
    return [
        f"{section}.{name} was {value}, is {now[section].get(name)}"
        for section, values in yaml.safe_load((folder / CONFIG).read_text()).items()
        for name, value in values.items()
        if not {section, f"{section}.{name}"} & set(may_change) and value != now[section].get(name)
    ]


def _to_yaml(config: Mapping[str, Any]) -> str:
    return redact(yaml.safe_dump(config, sort_keys=False))


def resume_child(settings: Settings) -> Settings:
    """Returns the settings of a run in a parent's folder, set to resume the run of that name if it has begun."""
    run_dir = Path(settings.run.output_dir) / settings.run.name
    begun = (run_dir / RUN_ID).is_file()
    run = replace(
        settings.run,
        resume=str(run_dir) if begun else None,
        overwrite=run_dir.exists() and not begun,  # the run was killed before it had begun
    )
    return replace(settings, run=run)
