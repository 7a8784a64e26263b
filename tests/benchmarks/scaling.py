"""The cost of more workers: 1 to 16 on this machine, each with a sleep in place of a step.

    python tests/benchmarks/scaling.py [--workers 1 2 4 8 16] [--step-seconds 0.5] [--steps 75]

All but the step is real: every rank plans its rounds, Ray Data fetches the rows, the uncertainties are
all-reduced, and Ray Train's workers and controller report and write the records. Every worker has the same
number of rows (weak scaling), so the ideal step time is constant. The efficiency is the sleep over the measured
step time, without the first round. The workers share this machine's cores, so their work beside the sleep
costs many times its share. The all-reduce of the gradients is not included: there is no network.
The last line is JSON. What grows with workers, tasks and rows: docs/clusters.md.
"""

import json
import logging
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.train
import torch
import transformers
from numpy.typing import NDArray
from ray.train.torch import TorchTrainer
from ray.train.v2.api.config import RunConfig, ScalingConfig
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from camtl import TokenRows
from pipeline.cluster.reports import ControllerCallback
from pipeline.config import SamplerSettings, Settings, TrainSettings
from pipeline.experiments.assembly import build_job
from pipeline.runs.checkpoints.store import CheckpointStore
from pipeline.runs.directory import CHECKPOINTS, RunPaths
from pipeline.runs.records import Records
from pipeline.sampling.ray_data import configure_ray_data, fetch_with_ray_data
from pipeline.sampling.state import SamplerState
from pipeline.sampling.stream import CandidateStream
from pipeline.tasks.embedded.suite import TASKS
from pipeline.tasks.registry import resolve_tasks
from pipeline.training.distributed import has_bfloat16, rank, world_size
from pipeline.training.job import TrainJob
from pipeline.training.loop import RankTrainer, Report, Save
from pipeline.training.scoring import Precision, TokenCount
from tests.benchmarks.common import GLUE, make_parser, process_bytes, time_in_turn
from tests.benchmarks.mixing import STEPS as ROUND_STEPS
from tests.benchmarks.mixing import plan
from tests.benchmarks.step import Steps, read_rows
from tests.prepared_rows import single_encodings

ROOT = Path(__file__).resolve().parents[2]
ROWS, POOL, SET_ROWS = 32, 2, 20_000
CPUS_PER_WORKER, CPUS_FOR_DATA = 0.5, 2


@dataclass
class SleepingLearner:
    """Sleeps for the time of a step; all rows are equally uncertain."""

    seconds: float
    num_tasks: int
    precision: Precision = field(default_factory=lambda: Precision(torch.device("cpu"), bfloat16=False))
    tokens: TokenCount = field(default_factory=TokenCount)

    def step(self, rows: TokenRows, rows_per_task: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """Returns counts and uncertainties per task, as `Learner.step` does."""
        time.sleep(self.seconds)
        self.tokens.computed += len(rows.input_ids)
        self.tokens.real += len(rows.input_ids)
        counts = torch.from_numpy(np.bincount(rows.task_ids, minlength=self.num_tasks)).float()
        return counts, counts * 0.5


class SleepingTrainer(RankTrainer):
    """Trains without a model: no evaluation, no checkpoint. Records both clocks after every step."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ended: list[tuple[float, float]] = []
        self.reporting = 0.0

    def step(self, candidates: TokenRows, weights: NDArray[np.float64]) -> None:
        super().step(candidates, weights)
        self.ended.append((time.perf_counter(), time.process_time()))

    def evaluation_due(self) -> bool:
        return False

    checkpoint_due = evaluation_due

    def hand_over_records(self, report: Report, *, save: bool) -> None:
        start = time.perf_counter()
        super().hand_over_records(report, save=save)
        self.reporting += time.perf_counter() - start


def worker(config: dict[str, Any]) -> None:
    """Runs in every Ray Train worker; writes its figures into the run directory."""
    configure_ray_data()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    job: TrainJob = config["job"]
    mixture = replace(job.mixture, world_size=world_size())
    stream = CandidateStream(partial(fetch_with_ray_data, config["sets"]), rank())
    learner = SleepingLearner(config["seconds"], len(job.tasks))
    state = SamplerState.initial(len(job.tasks))
    run = SleepingTrainer(replace(job, mixture=mixture), learner, SimpleNamespace(), [], stream, state)

    def report(records: Records, save: Save | None, metrics: dict[str, Any] | None) -> None:
        ray.train.report({"records": records})

    stream.request(mixture.current, state)
    run.train(report)
    stream.close()
    steady = np.asarray(run.ended[ROUND_STEPS - 1 :])
    step_seconds, cpu_seconds = (steady[-1] - steady[0]) / (len(steady) - 1)
    waited, reporting = stream.seconds_waited / len(run.ended), run.reporting / len(run.ended)
    figures = {"step_seconds": step_seconds, "cpu_seconds": cpu_seconds, "waited": waited}
    figures |= {"reporting": reporting, "memory": process_bytes()}
    (Path(config["run_dir"]) / f"rank-{rank()}.json").write_text(json.dumps(figures))


def make_table(task: int) -> pa.Table:
    """Prepared rows with GLUE's lengths."""
    random = np.random.default_rng(task)
    lengths = random.integers(10, 64, SET_ROWS)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    tokens = random.integers(0, 30_000, lengths.sum(), dtype=np.int32)
    columns = (tokens, np.zeros(len(tokens), dtype=np.int8))
    input_ids, types = (pa.ListArray.from_arrays(offsets, pa.array(values)) for values in columns)
    return single_encodings(np.arange(SET_ROWS), input_ids, types, np.zeros(SET_ROWS, dtype=np.float32))


def make_job(workers: int, steps: int) -> TrainJob:
    """The job of a number of workers with `ROWS` rows and `POOL` times as many candidates each."""
    settings = Settings(
        sampler=SamplerSettings(policy="uncertainty", select="none", pool=1.0, round_steps=ROUND_STEPS),
        train=TrainSettings(batch_size=ROWS * workers, max_steps=steps),
    )
    tasks = resolve_tasks(GLUE)
    job = build_job(settings, tuple(tasks), (SET_ROWS,) * len(tasks))
    return replace(job, mixture=replace(job.mixture, candidates_per_step=POOL * ROWS * workers))


def run(workers: int, steps: int, seconds: float, sets: Sequence[Any], folder: Path) -> dict[str, float]:
    """Runs the workers and returns the mean of their figures."""
    run_dir = folder / str(workers)
    run_dir.mkdir()
    job = make_job(workers, steps)
    paths = RunPaths(run_dir, CheckpointStore(str(run_dir / CHECKPOINTS)))
    trainer = TorchTrainer(
        worker,
        train_loop_config={"job": job, "sets": list(sets), "seconds": seconds, "run_dir": str(run_dir)},
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": CPUS_PER_WORKER}),
        run_config=RunConfig(  # type: ignore[arg-type]  # Train V2's own; the stub still names V1's
            name="checkpoints",
            storage_path=str(run_dir),
            callbacks=[ControllerCallback(paths, job.mixture.tasks, keep=1)],
        ),
    )
    trainer.fit()
    ranks = [json.loads(path.read_text()) for path in sorted(run_dir.glob("rank-*.json"))]
    assert len(ranks) == workers
    means = {name: float(np.mean([figures[name] for figures in ranks])) for name in ranks[0]}
    return {"efficiency": seconds / means["step_seconds"], **means}


def real_step_seconds() -> float:
    """Seconds of a MiniLM step of `ROWS` rows selected from `POOL` times as many, on one thread."""
    torch.set_num_threads(1)
    steps = Steps(TASKS, read_rows(TASKS, "embedded", 250), ROWS)
    learner, pool = steps.learner("base", has_bfloat16(steps.device)), steps.draw(POOL * ROWS)
    return median(time_in_turn({"step": lambda: steps.select_and_train(learner, pool)}, 7)["step"])


def main() -> None:
    """Measures and prints."""
    parser = make_parser(__doc__, data=False)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=75, help=f"steps of a run, {ROUND_STEPS} a round")
    parser.add_argument("--step-seconds", type=float, help="length of a step (default: measured)")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    seconds = arguments.step_seconds or real_step_seconds()
    sizes, rows = [10**9, *[SET_ROWS] * (len(GLUE) - 1)], POOL * ROWS * 1000 * ROUND_STEPS
    planned = median(time_in_turn({"plan": lambda: plan(sizes, [1.0] * len(GLUE), rows, 1000)}, 5)["plan"])
    print(f"a step of {ROWS} rows from {POOL * ROWS} candidates takes {seconds:.3f} s on one thread")
    print(f"a rank of 1,000 workers plans a round of {ROUND_STEPS} steps in {planned:.2f} s")
    ray.init(
        # More CPUs than the machine has: every worker sleeps most of the time.
        num_cpus=math.ceil(max(arguments.workers) * CPUS_PER_WORKER) + CPUS_FOR_DATA,
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    configure_ray_data()
    sets = [ray.put(make_table(task)) for task in range(len(GLUE))]
    print("workers  efficiency  s a step  per worker:   CPU s  waiting  reporting   memory")
    results = {}
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        for workers in arguments.workers:
            figures = results[workers] = run(workers, arguments.steps, seconds, sets, Path(folder))
            budget = "   (at least 90%)" if workers == 8 else ""
            print(
                f"{workers:7}  {figures['efficiency']:10.1%}  {figures['step_seconds']:8.3f}  "
                f"{figures['cpu_seconds']:18.4f}  {figures['waited'] / seconds:7.2%}  "
                f"{figures['reporting'] / seconds:9.2%}  {figures['memory'] / 2**20:4.0f} MiB{budget}",
                flush=True,
            )
    flat = {f"{name}_{number}": value for number, result in results.items() for name, value in result.items()}
    print(json.dumps({"sleep": seconds, "plan_1000_workers": planned, **flat}))


if __name__ == "__main__":
    main()
