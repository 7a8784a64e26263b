"""Runs of one configuration form a group; its seeds give the spread.

Every setting that can change the scores or the seconds splits groups, the number of workers too. Paths, names and seeds
split no groups and are not shown; limits on failures split no groups and are shown.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.config import Settings
from pipeline.tracking.texts import flatten, shorten

HIDDEN = ("run.", "data.prepared_dir", "cluster.storage_path")
SHOWN_ONLY = ("cluster.max_failures", "cluster.keep_checkpoints", "cluster.hang_timeout")
LONGEST_LABEL = 60


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        run_id, name, settings: Of the MLflow run; settings are its parameters, {dotted name: text}.
        started: In ms.
        results: Content of `results.json`.
        alias: The user's name for the run.
    """

    run_id: str
    name: str
    started: int
    seed: int
    settings: Mapping[str, str]
    results: Mapping[str, Any]
    alias: str = ""


@dataclass
class Group:
    """Runs that differ in their seed only, sorted by seed; `settings` are those that differ among groups, as text."""

    label: str
    runs: list[Run]
    settings: dict[str, str] = field(default_factory=dict)


def full_settings(logged: Mapping[str, str]) -> dict[str, str]:
    """Returns a run's settings; one that is newer than the run has today's default."""
    merged = flatten(asdict(Settings())) | dict(logged)
    return {name: value for name, value in merged.items() if not name.startswith(HIDDEN) and value != "{}"}


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """Returns the groups in the order of their first runs, and a line for every run that is left out."""
    settings = {run.run_id: full_settings(run.settings) for run in runs}
    names = {name for values in settings.values() for name in values}
    differing = sorted(n for n in names if len({values.get(n) for values in settings.values()}) > 1)
    splitting = [name for name in differing if name not in SHOWN_ONLY]
    by_key: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        key = (run.alias, *(settings[run.run_id].get(name) for name in splitting))
        by_key.setdefault(key, []).append(run)
    groups, remarks = [], []
    for members in by_key.values():
        newest: dict[int, Run] = {}
        for run in sorted(members, key=lambda member: member.started):
            if older := newest.get(run.seed):
                remarks.append(
                    f"seed {run.seed} was trained twice: {run.name} is used, the older {older.name} is left out"
                )
            newest[run.seed] = run
        shown = {
            name: " / ".join(dict.fromkeys(_as_yaml(settings[run.run_id].get(name)) for run in members))
            for name in differing
        }
        groups.append(Group("", [newest[seed] for seed in sorted(newest)], shown))
    _label(groups, splitting)
    return groups, remarks


def _as_yaml(value: str | None) -> str:
    """Returns a parameter of MLflow as a settings file has it."""
    if value is None:
        return "–"
    return {"None": "null", "True": "true", "False": "false"}.get(value, value.removesuffix(".0"))


def _label(groups: Sequence[Group], splitting: Sequence[str]) -> None:
    """Sets the labels: the user's name, else the settings that split the groups, else the first run's name."""
    leaves = [name.rpartition(".")[2] for name in splitting]
    names = [leaf if leaves.count(leaf) == 1 else name for name, leaf in zip(splitting, leaves, strict=True)]
    for group in groups:
        values = (_short(group.settings[name]) for name in splitting)
        text = " ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
        first, others = group.runs[0], len(group.runs) - 1
        by_run = first.name + (f" and {others} more" if others else "")
        group.label = first.alias or (text if 0 < len(text) <= LONGEST_LABEL else by_run)
    labels = [group.label for group in groups]
    for position, group in enumerate(groups):
        if labels.count(group.label) > 1:
            group.label += f" ({labels[: position + 1].count(labels[position])})"


def _short(value: str) -> str:
    """Returns a value for a label; a list of more than two entries as their number."""
    if value.startswith("["):
        with contextlib.suppress(ValueError):  # MLflow cuts long values
            entries = json.loads(value)
            return "+".join(map(str, entries)) if len(entries) <= 2 else f"{len(entries)} entries"
    return shorten(value, 24)
