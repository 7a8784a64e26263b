"""Runs of one configuration make a group; its seeds make the spread.

What splits groups is every setting that can change the scores or the seconds: workers among them, for each rank
selects from its own candidates. Places, names and seeds split nothing and are not shown; how patient a run is with
failures splits nothing and is shown.
"""

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
    """A finished run. `started` is in ms; `settings` are MLflow's parameters; `given_name` is the user's for it."""

    run_id: str
    name: str
    started: int
    seed: int
    settings: Mapping[str, str]
    results: Mapping[str, Any]
    given_name: str = ""


@dataclass
class Group:
    """Runs that differ in their seed only, in the order of their seeds."""

    label: str
    runs: list[Run]
    settings: dict[str, str] = field(default_factory=dict)  # what differs among the groups, as it is shown


def full_settings(logged: Mapping[str, str]) -> dict[str, str]:
    """A run's settings; one that did not exist when it was made is at today's default."""
    merged = flatten(asdict(Settings())) | dict(logged)
    return {name: value for name, value in merged.items() if not name.startswith(HIDDEN) and value != "{}"}


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """The groups in the order of their first runs, and a line for every run that was passed over."""
    settings = {run.run_id: full_settings(run.settings) for run in runs}
    names = {name for one in settings.values() for name in one}
    differing = sorted(n for n in names if len({one.get(n) for one in settings.values()}) > 1)
    splitting = [name for name in differing if name not in SHOWN_ONLY]
    by_key: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        key = (run.given_name, *(settings[run.run_id].get(name) for name in splitting))
        by_key.setdefault(key, []).append(run)
    groups, remarks = [], []
    for members in by_key.values():
        newest: dict[int, Run] = {}
        for run in sorted(members, key=lambda one: one.started):
            if older := newest.get(run.seed):
                remarks.append(
                    f"seed {run.seed} was trained twice: {run.name} is taken, the older {older.name} is left out"
                )
            newest[run.seed] = run
        shown = {
            name: " / ".join(dict.fromkeys(shown_value(settings[run.run_id].get(name)) for run in members))
            for name in differing
        }
        groups.append(Group("", [newest[seed] for seed in sorted(newest)], shown))
    _label(groups, splitting)
    return groups, remarks


def shown_value(value: str | None) -> str:
    """A parameter of MLflow's as a settings file would have it."""
    if value is None:
        return "–"
    return {"None": "null", "True": "true", "False": "false"}.get(value, value.removesuffix(".0"))


def _label(groups: Sequence[Group], splitting: Sequence[str]) -> None:
    leaves = [name.rpartition(".")[2] for name in splitting]
    for group in groups:
        parts = [
            f"{leaf if leaves.count(leaf) == 1 else name}={_short(group.settings[name])}"
            for name, leaf in zip(splitting, leaves, strict=True)
        ]
        text = " ".join(parts)
        first, more = group.runs[0], len(group.runs) - 1
        by_run = first.name + (f" and {more} more" if more else "")
        group.label = first.given_name or (text if text and len(text) <= LONGEST_LABEL else by_run)
    labels = [group.label for group in groups]
    for place, group in enumerate(groups):
        if labels.count(group.label) > 1:
            group.label += f" ({labels[: place + 1].count(labels[place])})"


def _short(value: str) -> str:
    if value.startswith("["):
        try:
            entries = json.loads(value)
        except ValueError:
            return shorten(value, 24)
        return "+".join(map(str, entries)) if len(entries) <= 2 else f"{len(entries)} entries"
    return shorten(value, 24)
