"""The numbers of a comparison: scores and costs of every group, and paired tests against the first group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.experiments.compare.groups import Group, Run

AVERAGE = ("average", "")
SHARED_AVERAGE = ("average of the tasks in all", "")
NOTHING = "–"
FEWEST_SEEDS = 3  # that two groups have to share for a test
SAME = 1e-9  # points on the 0–100 scale: differences with a smaller spread are equal up to rounding


@dataclass(frozen=True)
class Row:
    """A row of the table as text: a cell for each group; `best` are the positions of the highest mean."""

    name: str
    metric: str
    cells: tuple[str, ...]
    best: tuple[int, ...] = ()


@dataclass(frozen=True)
class PairedTest:
    """The difference of two groups over the seeds that both have.

    Attributes:
        seeds: Number of shared seeds.
        difference: Mean difference in points; None without shared seeds.
        low, high: 95 % confidence interval by Student's t; None with fewer than three seeds.
        p: Of the two-sided paired t-test; None with fewer than three seeds, or where all differences are equal and
            there is no spread to test against.
    """

    seeds: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None

    def __str__(self) -> str:
        """Returns the test as a line of the report."""
        if self.difference is None:
            return "no shared seeds"
        text = f"{self.difference:+.2f} over {self.seeds} shared seeds"
        if self.low is None or self.high is None:
            return f"{text}: too few for a test, which takes {FEWEST_SEEDS}"
        if self.p is None:
            return f"{text}: the same at every seed, so there is no spread to test against"
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        return f"{text}, 95% interval {self.low:+.2f} to {self.high:+.2f}, {p}"


def costs_of(run: Run) -> dict[str, float | None]:
    """Returns {name: value} of what a run cost; None if its results do not have it."""
    results: Mapping[str, Any] = run.results
    parameters, share = results.get("parameters", {}), results.get("fraction_of_data")
    return {
        "rows trained": results.get("rows_trained"),
        "rows scored": results.get("rows_scored"),
        "% of the data": None if share is None else 100 * share,
        "parameters": parameters.get("total"),
        "trained parameters": parameters.get("trainable"),
        "seconds of training": results.get("seconds"),
    }


def score_frame(groups: Sequence[Group]) -> pd.DataFrame:
    """Returns the scores: a row for each (task, metric), the average last; a column for each (group position, seed).

    Averages over different tasks do not compare: if the runs' tasks differ, the last row is the average over the
    tasks that all runs have.
    """
    runs = {(position, run.seed): run.results for position, group in enumerate(groups) for run in group.runs}
    scores = {
        key: {
            (task, metric): value
            for task, values in results["tasks"].items()
            for metric, value in values.items()
        }
        for key, results in runs.items()
    }
    rows = list(dict.fromkeys(row for column in scores.values() for row in column))
    index = pd.MultiIndex.from_tuples(rows, names=["task", "metric"])
    frame = pd.DataFrame({key: pd.Series(column) for key, column in scores.items()}).reindex(index)
    complete = frame.notna().all(axis=1)
    shared = complete.groupby(level="task").transform("all")
    if complete.all():
        frame.loc[AVERAGE, :] = [results["average"] for results in runs.values()]
    elif shared.any():
        frame.loc[SHARED_AVERAGE, :] = frame[shared].groupby(level="task").mean().mean()
    return frame


def table_rows(groups: Sequence[Group]) -> list[Row]:
    """Returns the table: scores, then seeds and costs."""
    rows = []
    for (task, metric), scores in score_frame(groups).iterrows():
        by_group = [scores[position].dropna() for position in range(len(groups))]
        means = pd.Series([values.mean() for values in by_group]).round(2)
        best = tuple(means.index[means == means.max()]) if len(groups) > 1 else ()
        cells = tuple(_cell(values, ".2f", show_zero=True) for values in by_group)
        rows.append(Row(task, metric, cells, best))
    seeds = (f"{' '.join(str(run.seed) for run in group.runs)} (n={len(group.runs)})" for group in groups)
    rows.append(Row("seeds", "", tuple(seeds)))
    costs = [pd.DataFrame([costs_of(run) for run in group.runs], dtype=float) for group in groups]
    for name in costs[0]:
        form = ".1f" if "%" in name else ",.0f"
        rows.append(Row(name, "", tuple(_cell(frame[name].dropna(), form) for frame in costs)))
    return rows


def _cell(values: pd.Series, form: str, *, show_zero: bool = False) -> str:
    """Returns mean and standard deviation (n - 1) as text; a spread of zero is shown for scores only."""
    if values.empty:
        return NOTHING
    spread = values.std()  # NaN for a single value
    shown = spread > 0 or (show_zero and spread == 0)
    return f"{values.mean():{form}}" + (f" ± {spread:{form}}" if shown else "")


def paired_test(reference: pd.Series, other: pd.Series) -> PairedTest:
    """Compares `other` with `reference`, both {seed: score}."""
    other, reference = other.dropna().align(reference.dropna(), join="inner")
    differences = other - reference
    seeds, mean = len(differences), float(differences.mean())
    if seeds < FEWEST_SEEDS:
        return PairedTest(seeds, mean if seeds else None)
    if differences.std() < SAME:
        return PairedTest(seeds, mean, mean, mean)
    from scipy import stats

    result = stats.ttest_rel(other, reference)
    low, high = result.confidence_interval()
    return PairedTest(seeds, mean, float(low), float(high), float(result.pvalue))


def paired_tests(groups: Sequence[Group]) -> list[dict[tuple[str, str], PairedTest]]:
    """Returns for each group after the first the tests of its scores against the first group's."""
    frame = score_frame(groups)
    return [
        {row: paired_test(scores[0], scores[position]) for row, scores in frame.iterrows()}
        for position in range(1, len(groups))
    ]
