"""The cost of mixing: planning a round, and a run fed by Ray Data against one fed from memory.

    python tests/benchmarks/mixing.py [--rounds 26] [--data <folder of Parquet>]

Trains MiniLM on two Ray Train workers, on the 8 GLUE tasks of the folder, or on the embedded suite. The rounds'
rows come in turn from the workers' memory, from Ray Data with the sets in the object store, and from Ray Data
with the sets on disk, so that other load on the machine affects all three. A round's rows are fetched during
the round before it: that round's time is counted for the fetch beside it, and compared with the nearest round
fetched from memory, by medians. The first and the last round are not counted. The last line is JSON.
"""

import json
import sys
import tempfile
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
from tests.benchmarks.common import GLUE, make_parser, time_in_turn

WORKERS = 2
STEPS = 25  # of a round
PLAN_TASKS, PLAN_ROWS = (8, 128, 1024), (1_000, 10_000, 100_000)
FETCHES = ("memory", "ray_data", "ray_data_disk")


def plan(sizes: Sequence[int], weights: Sequence[float], rows: int, workers: int) -> None:
    """Plans a round of `STEPS` steps and `rows` rows over sets of these sizes."""
    mixture = Mixture(
        tasks=tuple(f"task-{number}" for number in range(len(sizes))),
        sizes=tuple(sizes),
        policy="uniform",
        options=PolicyOptions(),
        candidates_per_step=rows // STEPS,
        round_steps=STEPS,
        max_steps=STEPS,
        seed=1,
        world_size=workers,
    )
    mixture.plan(np.asarray(weights) / sum(weights), [0] * len(sizes), round_start=0)


def plan_seconds(repeats: int) -> dict[str, float]:
    """Median seconds to plan a round, by number of tasks and rows; sets have 2,000 to 4 million rows."""
    plans = {}
    for tasks in PLAN_TASKS:
        random = np.random.default_rng(tasks)
        weights = random.random(tasks).tolist()
        sizes = np.exp(random.uniform(np.log(2e3), np.log(4e6), tasks)).astype(int).tolist()
        for rows in PLAN_ROWS:
            plans[f"plan_{tasks}_tasks_{rows}_rows"] = partial(plan, sizes, weights, rows, WORKERS)
    return {name: median(seconds) for name, seconds in time_in_turn(plans, repeats).items()}


@dataclass
class InTurn:
    """Fetches round after round by each of several functions in turn."""

    fetches: Sequence[Fetch]
    rounds: int = 0

    def __call__(self, plan: Plan) -> list[TokenRows]:
        self.rounds += 1
        return self.fetches[(self.rounds - 1) % len(self.fetches)](plan)


def run(settings: Settings, tasks: tuple[Task, ...], run_dir: Path) -> list[dict[str, Any]]:
    """Trains on two workers and returns the summary of every round."""
    data = load_data(settings, tasks)
    job = build_job(settings, tasks, tuple(split.rows for split in data.train))
    run_dir.mkdir()
    paths = RunPaths(run_dir, CheckpointStore(str(run_dir / CHECKPOINTS)))
    fetches: dict[str, Fetch] = {
        "memory": partial(fetch_from_memory, [read_table(split) for split in data.train]),
        "ray_data": make_ray_data_fetch(data.train, None),
        "ray_data_disk": make_ray_data_fetch(data.train, 0),
    }
    in_turn = InTurn([fetches[name] for name in FETCHES])
    with launch(job, in_turn, data.evals, settings.cluster, paths, lambda: None):
        pass
    return [read_summary(chunk) for chunk in list_chunks(run_dir)]


def summarise(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Rows/s beside each fetch, the share of time spent waiting for each, and ratios to memory."""
    speed: dict[str, list[float]] = {name: [] for name in FETCHES}
    waited = dict.fromkeys(FETCHES, 0.0)
    seconds = dict.fromkeys(FETCHES, 0.0)
    for number, summary in list(enumerate(rounds))[1:-1]:
        beside, before = FETCHES[(number + 1) % len(FETCHES)], FETCHES[number % len(FETCHES)]
        speed[beside].append(summary["rows_trained"] / summary["seconds"])
        waited[before] += summary["seconds_waited"]
        seconds[before] += summary["seconds"]
    figures = {f"{name}_rows_per_second": median(values) for name, values in speed.items()}
    figures |= {f"{name}_data_wait_fraction": waited[name] / seconds[name] for name in FETCHES}
    for name in FETCHES[1:]:
        pairs = zip(speed[name], speed["memory"], strict=False)
        figures[f"{name}_over_memory"] = median(fetched / from_memory for fetched, from_memory in pairs)
    return figures


def main() -> None:
    """Measures and prints."""
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=26, help=f"rounds of {STEPS} steps; 0 only plans")
    parser.add_argument("--rows", type=int, default=32, help="rows trained per step")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    figures = plan_seconds(7)
    print(f"planning a round of {STEPS} steps")
    for number in PLAN_TASKS:
        seconds = {rows: figures[f"plan_{number}_tasks_{rows}_rows"] for rows in PLAN_ROWS}
        per_row = ", ".join(f"{1e6 * seconds[rows] / rows:.2f} at {rows:,}" for rows in PLAN_ROWS)
        print(
            f"  {number:5} tasks: {1e3 * seconds[10_000]:6.1f} ms for 10,000 rows (at most 50); us a row: {per_row}"
        )
    if arguments.rounds:
        tasks = tuple(resolve_tasks(GLUE) if arguments.data else TASKS)
        sizes = f"{arguments.rounds} rounds of {STEPS} steps of {arguments.rows} rows"
        print(f"{sizes}, {WORKERS} workers, {len(tasks)} tasks", flush=True)
        cluster.connect()
        with tempfile.TemporaryDirectory(prefix="mixing-") as folder:
            source, prepared_dir = arguments.data or "embedded", f"{folder}/prepared"
            max_steps = STEPS * arguments.rounds
            settings = Settings(
                data=DataSettings(source=source, max_eval_rows=16, prepared_dir=prepared_dir),
                sampler=SamplerSettings(round_steps=STEPS),
                train=TrainSettings(
                    batch_size=arguments.rows, max_steps=max_steps, eval_every=None, checkpoint_every=None
                ),
            )
            figures |= summarise(run(settings, tasks, Path(folder) / "run"))
        for name in FETCHES[1:]:
            print(
                f"  {name}: {figures[f'{name}_rows_per_second']:.1f} rows/s, "
                f"{figures[f'{name}_over_memory']:.1%} of the rate from memory (at least 95%), "
                f"waiting {figures[f'{name}_data_wait_fraction']:.2%} of the time (at most 2%)"
            )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
