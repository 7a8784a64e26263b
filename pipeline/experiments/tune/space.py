"""A search space: settings by their dotted names, and the values that each may have.

Pure functions. The search knows an option by a scalar label, so that lists and groups can be options too.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import suggest

RANGES, LISTS = ("uniform", "loguniform", "randint"), ("choice", "grid")
KINDS = (*RANGES, *LISTS)
Values = dict[str, Any]


@dataclass(frozen=True)
class Dimension:
    """One dimension of a search space.

    Attributes:
        name: A setting's dotted name, or a group's.
        kind: One of `KINDS`.
        low, high: Of a range; `randint` excludes `high`, as Python's ranges do.
        options: {label: {setting: value}} of a list.
    """

    name: str
    kind: str
    low: float = 0
    high: float = 0
    options: Mapping[Any, Values] | None = None

    def settings(self, drawn: Any) -> Values:
        """Returns {setting: value} of a drawn value."""
        return dict(self.options[drawn]) if self.options is not None else {self.name: drawn}

    def edges(self) -> list[Any]:
        """Returns values that show whether all are valid: every option, or both ends and one between."""
        if self.options is not None:
            return list(self.options)
        if self.kind == "randint":
            return [int(self.low), int(self.high) - 1]
        middle = math.sqrt(self.low * self.high) if self.low > 0 else (self.low + self.high) / 2
        return [self.low, middle, self.high]


Space = tuple[Dimension, ...]


def parse_space(spec: Mapping[str, Any], known: Sequence[str]) -> Space:
    """Returns the dimensions of `spec`, {name: {kind: range or list}}; `known` are the names of all settings.

    Raises:
        ValueError: The space is empty, a name is no setting, or a range is invalid; one line that names it.
    """
    if not spec:
        raise ValueError("sweep.space is empty: list settings with their ranges or options")
    space = tuple(_dimension(str(name), body, known) for name, body in spec.items())
    owners: dict[str, str] = {}
    for dimension in space:
        for setting in dimension.settings(dimension.edges()[0]):
            if owners.setdefault(setting, dimension.name) != dimension.name:
                raise ValueError(
                    f"sweep.space: {setting} is set by {owners[setting]} and by {dimension.name}: keep one"
                )
    return space


def _dimension(name: str, body: Any, known: Sequence[str]) -> Dimension:
    prefix, is_setting = f"sweep.space: {name}", "." in name
    if not isinstance(body, Mapping) or len(body) != 1:
        raise ValueError(f"{prefix} must be one of {', '.join(KINDS)} with its values")
    [(kind, values)] = body.items()
    if kind not in KINDS:
        raise ValueError(f"{prefix}: unknown kind {kind!r}{suggest(str(kind), KINDS)}")
    if is_setting:
        _check_name(name, known, prefix)
    elif kind in RANGES or (values and not isinstance(values, Mapping)):
        raise ValueError(f"sweep.space: unknown setting {name!r}{_like(name, known)}")
    if kind in RANGES:
        return Dimension(name, kind, *_range(kind, values, prefix))
    if not values or not isinstance(values, (list, tuple, Mapping)):
        raise ValueError(f"{prefix}: {kind} has no options: list them")
    if is_setting and isinstance(values, Mapping):
        raise ValueError(f"{prefix}: {kind} takes a list of values, got a mapping")
    options = (
        {json.dumps(v) if isinstance(v, (list, tuple, Mapping)) else v: {name: v} for v in values}
        if is_setting
        else _group(name, values, known, prefix)
    )
    if len(options) != len(values):
        raise ValueError(f"{prefix}: an option is listed twice")
    return Dimension(name, kind, options=options)


def _group(name: str, values: Any, known: Sequence[str], prefix: str) -> dict[Any, Values]:
    if not all(isinstance(option, Mapping) for option in values.values()):
        raise ValueError(f"sweep.space: unknown setting {name!r}{_like(name, known)}")
    names = {setting for option in values.values() for setting in option}
    for option, settings in values.items():
        for setting in settings:
            _check_name(str(setting), known, f"{prefix}, option {option}")
        if missing := ", ".join(sorted(names - set(settings))):
            raise ValueError(f"{prefix}, option {option}: {missing} is set by other options: set it")
    return {str(option): dict(settings) for option, settings in values.items()}


def _check_name(name: str, known: Sequence[str], prefix: str) -> None:
    if name not in known:
        raise ValueError(f"{prefix}: unknown setting {name!r}{_like(name, known)}")
    if name != "run.seed" and name.split(".")[0] in ("run", "cluster"):
        raise ValueError(f"{prefix}: {name} is the same for all trials of a sweep: set it outside the space")


def _like(name: str, known: Sequence[str]) -> str:
    same = [other for other in known if other.split(".")[-1] == name.split(".")[-1]]
    return f": did you mean {' or '.join(map(repr, same))}?" if same else suggest(name, known)


def _range(kind: str, values: Any, prefix: str) -> tuple[float, float]:
    pair = isinstance(values, (list, tuple)) and len(values) == 2
    if not pair or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        raise ValueError(f"{prefix}: {kind} takes [low, high], got {values!r}")
    low, high = values
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{prefix}: {kind} [{low}, {high}] is empty or infinite: low must be less than high")
    if kind == "loguniform" and low <= 0:
        raise ValueError(f"{prefix}: loguniform from {low}: low must be above 0")
    if kind == "randint" and not all(float(v).is_integer() for v in values):
        raise ValueError(f"{prefix}: randint takes whole numbers, got {values!r}")
    return low, high


def grid_size(space: Space) -> int:
    """Returns the number of points of the grid; 1 without a grid."""
    return math.prod(len(dimension.edges()) for dimension in space if dimension.kind == "grid")


def values_of(space: Space, drawn: Mapping[str, Any]) -> Values:
    """Returns {setting: value} of a trial from what the search drew, {dimension: value}."""
    return {
        name: value
        for dimension in space
        for name, value in dimension.settings(drawn[dimension.name]).items()
    }


def edge_draws(space: Space) -> list[dict[str, Any]]:
    """Returns a draw for each edge of each dimension, {dimension: value}; the others are at their first edges."""
    first = {dimension.name: dimension.edges()[0] for dimension in space}
    return [{**first, one.name: edge} for one in space for edge in one.edges()]


def describe_draw(drawn: Mapping[str, Any]) -> str:
    """Returns what a trial drew, {dimension: value}, as one line."""
    return "  ".join(
        f"{name.split('.')[-1]} {value:.3g}" if isinstance(value, float) else f"{name.split('.')[-1]} {value}"
        for name, value in drawn.items()
    )
