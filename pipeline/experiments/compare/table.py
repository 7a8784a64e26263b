"""The comparison's numbers: a row for every score and every cost, a column for every group."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from pipeline.experiments.compare.groups import Group, Run
from pipeline.experiments.compare.statistics import Paired, paired, spread

AVERAGE = ("average", "")
SHARED_AVERAGE = ("average of the tasks in all", "")
NOTHING = "–"
Value = Callable[[Run], float | None]

COSTS: dict[str, tuple[Value, str]] = {
    "rows trained": (lambda run: run.results.get("rows_trained"), ",.0f"),
    "rows scored": (lambda run: run.results.get("rows_scored"), ",.0f"),
    "% of the data": (lambda run: _times(run.results.get("fraction_of_data"), 100), ".1f"),
    "parameters": (lambda run: run.results.get("parameters", {}).get("total"), ",.0f"),
    "trained parameters": (lambda run: run.results.get("parameters", {}).get("trainable"), ",.0f"),
    "seconds of training": (lambda run: run.results.get("seconds"), ",.0f"),
}


@dataclass(frozen=True)
class Row:
    """Texts of a row, one for every group; `best` are the places of the highest mean."""

    name: str
    metric: str
    cells: tuple[str, ...]
    best: tuple[int, ...] = ()


def score_values(groups: Sequence[Group]) -> dict[tuple[str, str], list[dict[int, float]]]:
    """{(task, metric): for each group {seed: score}}, the average last.

    Where runs have other tasks than each other, their averages are of different things: the average of the tasks
    that all have takes its place.
    """
    runs = [run for group in groups for run in group.runs]
    keys = list(
        dict.fromkeys((t, m) for run in runs for t, metrics in run.results["tasks"].items() for m in metrics)
    )
    values: dict[tuple[str, str], list[dict[int, float]]] = {
        (task, metric): [
            {
                run.seed: run.results["tasks"][task][metric]
                for run in group.runs
                if metric in run.results["tasks"].get(task, {})
            }
            for group in groups
        ]
        for task, metric in keys
    }
    shared = [task for task in runs[0].results["tasks"] if len({_metrics(run, task) for run in runs}) == 1]
    same = all(len(run.results["tasks"]) == len(shared) for run in runs)
    if same:
        values[AVERAGE] = [{run.seed: run.results["average"] for run in group.runs} for group in groups]
    elif shared:
        values[SHARED_AVERAGE] = [
            {
                run.seed: mean(mean(run.results["tasks"][task].values()) for task in shared)
                for run in group.runs
            }
            for group in groups
        ]
    return values


def rows_of(groups: Sequence[Group]) -> list[Row]:
    """The table: scores, then seeds and costs."""
    rows = []
    for (task, metric), by_group in score_values(groups).items():
        means = [round(mean(scores.values()), 2) if scores else None for scores in by_group]
        top = max(value for value in means if value is not None)
        best = tuple(place for place, value in enumerate(means) if value == top) if len(groups) > 1 else ()
        rows.append(
            Row(task, metric, tuple(_cell(list(s.values()), ".2f", even_none=True) for s in by_group), best)
        )
    seeds = (f"{' '.join(str(run.seed) for run in group.runs)} (n={len(group.runs)})" for group in groups)
    rows.append(Row("seeds", "", tuple(seeds)))
    for name, (value, form) in COSTS.items():
        found = [[v for run in group.runs if (v := value(run)) is not None] for group in groups]
        rows.append(Row(name, "", tuple(_cell(values, form) for values in found)))
    return rows


def tests_of(groups: Sequence[Group]) -> list[dict[tuple[str, str], Paired]]:
    """For each group after the first: every score held against the first group's."""
    values = score_values(groups)
    return [
        {key: paired(by_group[0], by_group[place]) for key, by_group in values.items()}
        for place in range(1, len(groups))
    ]


def in_words(test: Paired) -> str:
    """A test as a line tells it."""
    if test.difference is None:
        return "no shared seeds"
    text = f"{test.difference:+.2f} over {len(test.seeds)} shared seeds"
    if test.low is None or test.high is None:
        return f"{text}: too few for a test, which takes 3"
    if test.p is None:
        return f"{text}: the same at every seed, so there is no spread to test against"
    p = "p < 0.001" if test.p < 0.001 else f"p = {test.p:.3f}"
    return f"{text}, 95% interval {test.low:+.2f} to {test.high:+.2f}, {p}"


def _cell(values: Sequence[float], form: str, *, even_none: bool = False) -> str:
    """Mean and spread; a spread of nothing is told of scores only."""
    if not values:
        return NOTHING
    middle, deviation = spread(values)
    return f"{middle:{form}}" + (
        f" ± {deviation:{form}}" if deviation or (even_none and deviation is not None) else ""
    )


def _metrics(run: Run, task: str) -> tuple[str, ...] | None:
    found: Mapping[str, Any] | None = run.results["tasks"].get(task)
    return tuple(sorted(found)) if found else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
