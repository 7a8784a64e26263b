"""What mixing costs: planning a round, and a real run fed by Ray Data against the same run fed from memory.

    python tests/benchmarks/mixing.py [--steps 100] [--repeats 3] [--data <folder of Parquet>]

The runs are MiniLM on two Ray Train workers, changes of rounds included, on the 8 GLUE tasks where there is
a folder of them, else on the embedded suite. They differ only in where the rows come from: this run's
memory, Ray Data with the sets in the object store, Ray Data with the sets on disk. Every figure is measured
in one go, the candidates in turn, and compared by medians. Ends with one line of JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline import cluster
from pipeline.assembly import Data, job_for, load_data
from pipeline.config import DataSettings, SamplerSettings, Settings, TrainSettings
from pipeline.feed import Feed, feed_with_ray_data
from pipeline.launch import launch
from pipeline.mixture import fetch_from_memory
from pipeline.plan import plan_round
from pipeline.prepared import read_table
from pipeline.records import chunks, read_summary
from pipeline.tasks.base import Task
from pipeline.tasks.embedded import TASKS
from pipeline.tasks.registry import resolve

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
WORKERS = 2
PLAN_TASKS, PLAN_ROWS, PLAN_STEPS = (8, 128, 1024), (1_000, 10_000, 100_000), 25


def plan(tasks: int, rows: int) -> None:
    """Plan a round over sets of a few thousand to a few million rows."""
    random = np.random.default_rng(tasks)
    weights = random.random(tasks)
    plan_round(
        seed=1,
        tasks=[f"task-{number}" for number in range(tasks)],
        sizes=np.exp(random.uniform(np.log(2e3), np.log(4e6), tasks)).astype(int).tolist(),
        cursors=[0] * tasks,
        weights=weights / weights.sum(),
        first_step=1,
        steps=PLAN_STEPS,
        candidates_per_step=rows // PLAN_STEPS,
        world_size=WORKERS,
    )


def plan_seconds(repeats: int) -> dict[str, float]:
    """Median seconds of planning, by tasks and rows."""
    sizes = [(tasks, rows) for tasks in PLAN_TASKS for rows in PLAN_ROWS]
    seconds: dict[tuple[int, int], list[float]] = {size: [] for size in sizes}
    for repeat in range(repeats + 1):
        for size in sizes:
            began = time.perf_counter()
            plan(*size)
            if repeat:
                seconds[size].append(time.perf_counter() - began)
    return {f"plan_{tasks}_tasks_{rows}_rows": median(values) for (tasks, rows), values in seconds.items()}


def run(
    settings: Settings, tasks: tuple[Task, ...], data: Data, feed: Feed, run_dir: Path
) -> dict[str, float]:
    """Train on two workers; rows/s and the share of the time spent waiting, the first round left out."""
    job = job_for(settings, tasks, tuple(split.rows for split in data.train))
    run_dir.mkdir()
    with launch(job, feed, data.evals, settings.cluster, run_dir, lambda: None):
        pass
    steady = [read_summary(chunk) for chunk in chunks(run_dir)][1:]
    seconds = sum(summary["seconds"] for summary in steady)
    return {
        "rows_per_second": sum(summary["rows_trained"] for summary in steady) / seconds,
        "data_wait_fraction": sum(summary["seconds_waited"] for summary in steady) / seconds,
    }


def run_rates(
    settings: Settings, tasks: tuple[Task, ...], folder: Path, repeats: int
) -> dict[str, dict[str, float]]:
    """Medians of `run` for every way of feeding it."""
    data = load_data(settings, tasks)
    tables = [read_table(split) for split in data.train]
    feeds: dict[str, Callable[[], Feed]] = {
        "memory": lambda: partial(fetch_from_memory, tables),
        "ray_data": lambda: feed_with_ray_data(data.train, None),
        "ray_data_disk": lambda: feed_with_ray_data(data.train, 0),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in feeds}
    for repeat in range(repeats):
        for name, feed in feeds.items():
            found[name].append(run(settings, tasks, data, feed(), folder / f"{name}-{repeat}"))
            print(f"  {name:14} {found[name][-1]['rows_per_second']:8.1f} rows/s")
    return {
        name: {figure: median(run[figure] for run in runs) for figure in runs[0]}
        for name, runs in found.items()
    }


def show_plans(planned: dict[str, float]) -> None:
    """Milliseconds for 10,000 rows, and microseconds a row, which should not grow."""
    print(f"planning a round of {PLAN_STEPS} steps")
    for tasks in PLAN_TASKS:
        each = {rows: planned[f"plan_{tasks}_tasks_{rows}_rows"] for rows in PLAN_ROWS}
        per_row = ", ".join(f"{1e6 * each[rows] / rows:.2f} at {rows:,}" for rows in PLAN_ROWS)
        print(
            f"  {tasks:5} tasks: {1e3 * each[10_000]:6.1f} ms for 10,000 rows (at most 50); us a row: {per_row}"
        )


def show_rates(rates: dict[str, dict[str, float]], ratios: dict[str, float]) -> None:
    """Each way of feeding through Ray Data against memory."""
    for name, ratio in ratios.items():
        print(
            f"  {name}: {rates[name]['rows_per_second']:.1f} rows/s, {ratio:.1%} of those from memory "
            f"(at least 95%), waiting {rates[name]['data_wait_fraction']:.2%} (at most 2%)"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100, help="optimiser steps of a run, 25 a round")
    parser.add_argument("--repeats", type=int, default=3, help="runs of every way of feeding; 0 plans only")
    parser.add_argument("--rows", type=int, default=32, help="rows trained per step")
    parser.add_argument(
        "--data", default=None, help="folder of Parquet laid out like the Hub; default: embedded suite"
    )
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    planned = plan_seconds(7)
    show_plans(planned)
    rates: dict[str, dict[str, float]] = {}
    if arguments.repeats:
        tasks = tuple(resolve(GLUE) if arguments.data else TASKS)
        print(f"{arguments.steps} steps of {arguments.rows} rows on {WORKERS} workers, {len(tasks)} tasks")
        cluster.connect()
        with tempfile.TemporaryDirectory(prefix="mixing-") as folder:
            settings = Settings(
                data=DataSettings(
                    source=arguments.data or "embedded", max_eval_rows=16, prepared_dir=f"{folder}/prepared"
                ),
                sampler=SamplerSettings(round_steps=PLAN_STEPS),
                train=TrainSettings(
                    batch_size=arguments.rows,
                    max_steps=arguments.steps,
                    eval_every=None,
                    checkpoint_every=None,
                ),
            )
            rates = run_rates(settings, tasks, Path(folder), arguments.repeats)
    memory = rates.get("memory", {}).get("rows_per_second", float("nan"))
    ratios = {name: rate["rows_per_second"] / memory for name, rate in rates.items() if name != "memory"}
    show_rates(rates, ratios)
    flat = {f"{name}_{figure}": value for name, rate in rates.items() for figure, value in rate.items()}
    print(json.dumps({**planned, **flat, **{f"{name}_over_memory": ratio for name, ratio in ratios.items()}}))


if __name__ == "__main__":
    main()
