"""What mixing costs: planning a round, and a real run fed by Ray Data against one fed from memory.

    python tests/benchmarks/mixing.py [--rounds 26] [--data <folder of Parquet>]

The run is MiniLM on two Ray Train workers, changes of rounds included, on the 8 GLUE tasks where there is a
folder of them, else on the embedded suite. Its rounds are fed in turn from the workers' memory, by Ray Data
with the sets in the object store, and by Ray Data with the sets on disk, so that whatever else the machine
does meets all three. What a feed costs falls on the round before the one that it feeds: a round is counted
for the feed that works beside it, and compared with the round from memory nearest to it, by medians. The
first and the last round are left out. Ends with one line of JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from camtl import TokenRows
from pipeline.cluster import connection as cluster
from pipeline.cluster.launch import launch
from pipeline.config import DataSettings, SamplerSettings, Settings, TrainSettings
from pipeline.data.preparation.prepared import read_table
from pipeline.experiments.assembly import build_job, load_data
from pipeline.runs.checkpoints.store import CheckpointStore
from pipeline.runs.directory import CHECKPOINTS, RunPaths
from pipeline.runs.records import list_chunks, read_summary
from pipeline.sampling.batches import Fetch, fetch_from_memory
from pipeline.sampling.plan import Mixture, Plan
from pipeline.sampling.policies import PolicyOptions
from pipeline.sampling.ray_data import make_ray_data_fetch
from pipeline.tasks.base import Task
from pipeline.tasks.embedded.suite import TASKS
from pipeline.tasks.registry import resolve_tasks

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
WORKERS = 2
STEPS = 25  # of a round
PLAN_TASKS, PLAN_ROWS = (8, 128, 1024), (1_000, 10_000, 100_000)
FEEDS = ("memory", "ray_data", "ray_data_disk")


def plan(tasks: int, rows: int) -> None:
    """Plan a round over sets of a few thousand to a few million rows."""
    random = np.random.default_rng(tasks)
    weights = random.random(tasks)
    mixture = Mixture(
        tasks=tuple(f"task-{number}" for number in range(tasks)),
        sizes=tuple(np.exp(random.uniform(np.log(2e3), np.log(4e6), tasks)).astype(int).tolist()),
        policy="uniform",
        options=PolicyOptions(),
        candidates_per_step=rows // STEPS,
        round_steps=STEPS,
        max_steps=STEPS,
        seed=1,
        world_size=WORKERS,
    )
    mixture.plan(weights / weights.sum(), [0] * tasks, round_start=0)


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


@dataclass
class InTurn:
    """Fetches the first round by the first function, the second by the second, and so on, over and over."""

    fetches: Sequence[Fetch]
    rounds: int = 0

    def __call__(self, plan: Plan) -> list[TokenRows]:
        self.rounds += 1
        return self.fetches[(self.rounds - 1) % len(self.fetches)](plan)


def run(settings: Settings, tasks: tuple[Task, ...], run_dir: Path) -> list[dict[str, Any]]:
    """Train on two workers; the summary of every round."""
    data = load_data(settings, tasks)
    job = build_job(settings, tasks, tuple(split.rows for split in data.train))
    run_dir.mkdir()
    paths = RunPaths(run_dir, CheckpointStore(str(run_dir / CHECKPOINTS)))
    fetches: dict[str, Fetch] = {
        "memory": partial(fetch_from_memory, [read_table(split) for split in data.train]),
        "ray_data": make_ray_data_fetch(data.train, None),
        "ray_data_disk": make_ray_data_fetch(data.train, 0),
    }
    assert tuple(fetches) == FEEDS
    with launch(job, InTurn(list(fetches.values())), data.evals, settings.cluster, paths, lambda: None):
        pass
    return [read_summary(chunk) for chunk in list_chunks(run_dir)]


def rates(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Rows/s with each feed at work, shares of the time spent waiting for each, and ratios to memory."""
    speed: dict[str, list[float]] = {name: [] for name in FEEDS}
    waited = dict.fromkeys(FEEDS, 0.0)
    seconds = dict.fromkeys(FEEDS, 0.0)
    for number, summary in list(enumerate(rounds))[1:-1]:
        beside, before = FEEDS[(number + 1) % len(FEEDS)], FEEDS[number % len(FEEDS)]
        speed[beside].append(summary["rows_trained"] / summary["seconds"])
        waited[before] += summary["seconds_waited"]
        seconds[before] += summary["seconds"]
    found = {f"{name}_rows_per_second": median(values) for name, values in speed.items()}
    found |= {f"{name}_data_wait_fraction": waited[name] / seconds[name] for name in FEEDS}
    for name in FEEDS[1:]:
        pairs = zip(speed[name], speed["memory"], strict=False)
        found[f"{name}_over_memory"] = median(fed / from_memory for fed, from_memory in pairs)
    return found


def show_plans(planned: dict[str, float]) -> None:
    """Milliseconds for 10,000 rows, and microseconds a row, which should not grow."""
    print(f"planning a round of {STEPS} steps")
    for tasks in PLAN_TASKS:
        each = {rows: planned[f"plan_{tasks}_tasks_{rows}_rows"] for rows in PLAN_ROWS}
        per_row = ", ".join(f"{1e6 * each[rows] / rows:.2f} at {rows:,}" for rows in PLAN_ROWS)
        print(
            f"  {tasks:5} tasks: {1e3 * each[10_000]:6.1f} ms for 10,000 rows (at most 50); us a row: {per_row}"
        )


def show_rates(found: dict[str, float]) -> None:
    """Each way of feeding through Ray Data against memory."""
    for name in FEEDS[1:]:
        print(
            f"  {name}: {found[f'{name}_rows_per_second']:.1f} rows/s, {found[f'{name}_over_memory']:.1%} of those "
            f"from memory (at least 95%), waiting {found[f'{name}_data_wait_fraction']:.2%} (at most 2%)"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=26, help=f"rounds of {STEPS} steps; 0 plans only")
    parser.add_argument("--rows", type=int, default=32, help="rows trained per step")
    parser.add_argument(
        "--data", default=None, help="folder of Parquet laid out like the Hub; default: embedded suite"
    )
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    found = plan_seconds(7)
    show_plans(found)
    if arguments.rounds:
        tasks = tuple(resolve_tasks(GLUE) if arguments.data else TASKS)
        print(
            f"{arguments.rounds} rounds of {STEPS} steps of {arguments.rows} rows, {WORKERS} workers, "
            f"{len(tasks)} tasks",
            flush=True,
        )
        cluster.connect()
        with tempfile.TemporaryDirectory(prefix="mixing-") as folder:
            settings = Settings(
                data=DataSettings(
                    source=arguments.data or "embedded", max_eval_rows=16, prepared_dir=f"{folder}/prepared"
                ),
                sampler=SamplerSettings(round_steps=STEPS),
                train=TrainSettings(
                    batch_size=arguments.rows,
                    max_steps=STEPS * arguments.rounds,
                    eval_every=None,
                    checkpoint_every=None,
                ),
            )
            found |= rates(run(settings, tasks, Path(folder) / "run"))
        show_rates(found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
