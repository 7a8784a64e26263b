"""A search space: settings by their dotted names, and what each may be.

Pure functions. Options go to the search as scalars (`label`), so that lists and groups can be options too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.config import Settings
from pipeline.errors import suggest

RANGES, LISTS = ("uniform", "loguniform", "randint"), ("choice", "grid")
Values = dict[str, Any]


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched.

    Attributes:
        name: A setting's dotted name, or a group's.
        kind: How it is drawn.
        low, high: Of a range; `randint` leaves `high` out, as Python's ranges do.
        options: {label: settings} of a list; a setting's own option is {label: {name: option}}.
    """

    name: str
    kind: str
    low: float = 0
    high: float = 0
    options: Mapping[Any, Values] | None = None

    def settings(self, drawn: Any) -> Values:
        """What a drawn value sets, {dotted name: value}."""
        return dict(self.options[drawn]) if self.options is not None else {self.name: drawn}

    def draw(self, chance: np.random.Generator) -> Any:
        """A value, as the search draws it."""
        if self.options is not None:
            return list(self.options)[int(chance.integers(len(self.options)))]
        if self.kind == "randint":
            return int(chance.integers(int(self.low), int(self.high)))
        if self.kind == "loguniform":
            return float(np.exp(chance.uniform(math.log(self.low), math.log(self.high))))
        return float(chance.uniform(self.low, self.high))

    def edges(self) -> list[Any]:
        """Values that show whether all may be had: every option, or both ends and one between."""
        if self.options is not None:
            return list(self.options)
        if self.kind == "randint":
            return [int(self.low), int(self.high) - 1]
        return [
            self.low,
            math.sqrt(self.low * self.high) if self.low > 0 else (self.low + self.high) / 2,
            self.high,
        ]


Space = tuple[Dimension, ...]


def parse_space(given: Mapping[str, Any], known: Sequence[str]) -> Space:
    """The dimensions of a space as it stands in YAML.

    Args:
        given: {name: {kind: range or list}}.
        known: Dotted names of all settings.

    Raises:
        ValueError: The space is empty, a name is no setting, or a range cannot be; one line that names it.
    """
    if not given:
        raise ValueError("sweep.space is empty: give settings and what each may be")
    space = tuple(_dimension(str(name), spec, known) for name, spec in given.items())
    owners: dict[str, str] = {}
    for dimension in space:
        for setting in dimension.settings(dimension.edges()[0]):
            if owners.setdefault(setting, dimension.name) != dimension.name:
                raise ValueError(
                    f"sweep.space: {setting} is set by {owners[setting]} and by {dimension.name}: keep one"
                )
    return space


def _dimension(name: str, spec: Any, known: Sequence[str]) -> Dimension:
    where = f"sweep.space: {name}"
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise ValueError(f"{where} has to be one of {', '.join((*RANGES, *LISTS))} with its values")
    [(kind, values)] = spec.items()
    if kind not in (*RANGES, *LISTS):
        raise ValueError(f"{where}: unknown kind {kind!r}{suggest(str(kind), (*RANGES, *LISTS))}")
    if "." in name:
        _check_name(name, known, where)
    if kind in RANGES:
        if "." not in name:
            raise ValueError(f"sweep.space: unknown setting {name!r}{_like(name, known)}")
        return Dimension(name, kind, *_range(kind, values, where))
    if not values or not isinstance(values, (list, tuple, Mapping)):
        raise ValueError(f"{where}: {kind} has no options: give a list of them")
    if "." in name:
        if isinstance(values, Mapping):
            raise ValueError(f"{where}: {kind} takes a list of values, got a mapping")
        options = {label(value): {name: value} for value in values}
    else:
        options = _group(name, values, known, where)
    if len(options) != len(values):
        raise ValueError(f"{where}: an option is listed twice")
    return Dimension(name, kind, options=options)


def _group(name: str, values: Any, known: Sequence[str], where: str) -> dict[Any, Values]:
    if not isinstance(values, Mapping) or not all(isinstance(option, Mapping) for option in values.values()):
        raise ValueError(f"sweep.space: unknown setting {name!r}{_like(name, known)}")
    for option, settings in values.items():
        for setting in settings:
            _check_name(str(setting), known, f"{where}, option {option}")
    names = [set(option) for option in values.values()]
    for option, its in zip(values, names, strict=True):
        if missing := set.union(*names) - its:
            raise ValueError(
                f"{where}, option {option}: {', '.join(sorted(missing))} is set by other options: set it"
            )
    return {str(option): dict(settings) for option, settings in values.items()}


def _check_name(name: str, known: Sequence[str], where: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: unknown setting {name!r}{_like(name, known)}")
    if name != "run.seed" and name.split(".")[0] in ("run", "cluster"):
        raise ValueError(f"{where}: {name} is the same for all trials of a sweep: set it outside the space")


def _like(name: str, known: Sequence[str]) -> str:
    same = [other for other in known if other.split(".")[-1] == name.split(".")[-1]]
    return f": did you mean {' or '.join(map(repr, same))}?" if same else suggest(name, known)


def _range(kind: str, values: Any, where: str) -> tuple[float, float]:
    numbers = isinstance(values, (list, tuple)) and len(values) == 2
    if not numbers or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        raise ValueError(f"{where}: {kind} takes [low, high], got {values!r}")
    low, high = values
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"{where}: {kind} [{low}, {high}] has nothing in it: give a low that is less than the high"
        )
    if kind == "loguniform" and low <= 0:
        raise ValueError(f"{where}: loguniform from {low}: a logarithm needs more than 0")
    if kind == "randint" and not all(float(v).is_integer() for v in values):
        raise ValueError(f"{where}: randint takes whole numbers, got {values!r}")
    return low, high


def label(option: Any) -> Any:
    """An option as the search knows it: itself where it is a scalar, else its JSON."""
    return option if isinstance(option, (str, int, float, bool, type(None))) else json.dumps(option)


def grid_size(space: Space) -> int:
    """Trials that every point of the grid once takes; 1 where nothing is a grid."""
    return math.prod(len(dimension.edges()) for dimension in space if dimension.kind == "grid")


def is_grid(space: Space) -> bool:
    """Whether all of the space is a grid, which is then tried once."""
    return all(dimension.kind == "grid" for dimension in space)


def values_of(space: Space, drawn: Mapping[str, Any]) -> Values:
    """What a trial sets, {dotted name: value}, from what the search drew, {dimension: value}."""
    return {
        name: value
        for dimension in space
        for name, value in dimension.settings(drawn[dimension.name]).items()
    }


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Settings in which these dotted names have other values; lists become tuples."""
    for name, value in values.items():
        section, field = name.split(".")
        changed = replace(
            getattr(settings, section), **{field: tuple(value) if isinstance(value, list) else value}
        )
        settings = replace(settings, **{section: changed})
    return settings


def described(drawn: Mapping[str, Any]) -> str:
    """What a trial drew, {dimension: value}, in a line."""
    return "  ".join(
        f"{name.split('.')[-1]} {value:.3g}" if isinstance(value, float) else f"{name.split('.')[-1]} {value}"
        for name, value in drawn.items()
    )
