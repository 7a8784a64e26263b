"""What more workers cost: 1 to 16 of them on this machine, whose step is a sleep as long as a real one.

    python tests/benchmarks/scaling.py [--workers 1 2 4 8 16] [--step-seconds 0.5] [--steps 75]

Everything but the step is real: every rank plans its rounds, Ray Data fetches them, uncertainties are
all-reduced, records are reported and written, by Ray Train's workers and controller. Every worker has the
same rows to do (weak scaling), so the step would take as long with any number of them: the efficiency is
the sleep / the time that a step took, the first round left out. Workers share this machine's cores, so what
they do beside sleeping is paid many times over. Left out, for want of a network: the all-reduce of the
gradients. Ends with one line of JSON.

What grows, and where it would break (figures of this machine, by this script and mixing.py):

with workers W
    A rank plans the whole round to find its own rows: 0.3 us a row, half a second for 1,000 workers with 64
    candidates each and 25 steps; it does so beside the training. Beyond, one rank of a node would plan.
    A rank fetches its own rows. The rows of a set on disk that a round has for all ranks lie in the same row
    groups, and every rank reads them for itself: with 1,000 workers and 8 tasks 1,600 row groups, 130 MB and
    1.6 s of a core for each rank and round. That breaks first, at the file system: there a node's ranks have
    to share a fetch. Sets in the object store do not have this cost.
    Reports meet in one controller: the records of 1,000 workers are 26 MB a round, and a report waits for all
    ranks. What is all-reduced in a step, beside the gradients, are four numbers a task.
with tasks T
    Weights and plans are O(T + rows). `mix.parquet` has a row for every step and task: 10 million for 10,000
    steps of 1,024 tasks. A Ray task holds the tables of the tasks that its rows come from by reference.
with the rows N of a set
    Nothing in a plan, whose order is computed for single positions, and nothing in a round. A node is told
    the names of the files, 2 MB for 10^9 rows. What breaks first is the preparation: every process that
    reads holds the order of the whole split, 8 bytes a row, and to open prepared data is to open each of its
    files, 15,259 for 10^9 rows.
"""

import argparse
import json
import logging
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
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
from pipeline.cluster.workers import Follow
from pipeline.config import SamplerSettings, Settings, TrainSettings
from pipeline.experiments.assembly import build_job
from pipeline.runs.checkpoints.store import CheckpointStore
from pipeline.runs.directory import CHECKPOINTS, RunPaths
from pipeline.runs.records import Records
from pipeline.sampling.plan import Mixture
from pipeline.sampling.policies import PolicyOptions
from pipeline.sampling.ray_data import configure_ray_data, fetch_with_ray_data
from pipeline.sampling.state import SamplerState
from pipeline.sampling.stream import CandidateStream
from pipeline.tasks.embedded.suite import TASKS
from pipeline.tasks.registry import resolve_tasks
from pipeline.training.distributed import has_bfloat16, rank, world_size
from pipeline.training.job import TrainJob
from pipeline.training.loop import RankTrainer, Report, Save
from pipeline.training.scoring import Precision, TokenCount
from tests.benchmarks.step import Steps, as_rows, read_tables, time_in_turn
from tests.prepared_rows import single_encodings

ROOT = Path(__file__).resolve().parents[2]
GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
ROWS, POOL, ROUND_STEPS, SET_ROWS = 32, 2, 25, 20_000
CPUS_PER_WORKER, CPUS_FOR_DATA = 0.5, 2


class SleepingLearner:
    """Takes as long as a step, and finds every row as uncertain as another."""

    def __init__(self, seconds: float, num_tasks: int) -> None:
        self.precision = Precision(torch.device("cpu"), bfloat16=False)
        self.tokens = TokenCount()
        self._seconds = seconds
        self._num_tasks = num_tasks

    def step(self, rows: TokenRows, rows_per_task: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """What `pipeline.training.learner.Learner.step` returns."""
        time.sleep(self._seconds)
        self.tokens.computed += len(rows.input_ids)
        self.tokens.real += len(rows.input_ids)
        counts = torch.from_numpy(np.bincount(rows.task_ids, minlength=self._num_tasks)).float()
        return counts, counts * 0.5


class SleepingTrainer(RankTrainer):
    """A run without a model: nothing to evaluate, nothing to save. Notes the clocks after every step."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ended: list[tuple[float, float]] = []
        self.reporting = 0.0

    def step(self, candidates: TokenRows, weights: NDArray[np.float64]) -> None:
        super().step(candidates, weights)
        self.ended.append((time.perf_counter(), time.process_time()))

    def evaluation_due(self) -> bool:
        return False

    def checkpoint_due(self) -> bool:
        return False

    def hand_over_records(self, report: Report, *, save: bool) -> None:
        began = time.perf_counter()
        super().hand_over_records(report, save=save)
        self.reporting += time.perf_counter() - began


def worker(config: dict[str, Any]) -> None:
    """What every Ray Train worker does; it leaves its figures in the run directory."""
    configure_ray_data()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    job: TrainJob = config["job"]
    mixture = replace(job.mixture, world_size=world_size())
    stream = CandidateStream(partial(fetch_with_ray_data, config["sets"]), rank())
    learner: Any = SleepingLearner(config["seconds"], len(job.tasks))
    tokenizer: Any = SimpleNamespace()
    state = SamplerState.initial(len(job.tasks))
    run = SleepingTrainer(replace(job, mixture=mixture), learner, tokenizer, [], stream, state)

    def report(records: Records, save: Save | None, metrics: dict[str, Any] | None) -> None:
        ray.train.report({"records": records})

    stream.request(mixture.current, state)
    run.train(report)
    stream.close()
    steady = np.asarray(run.ended[ROUND_STEPS - 1 :])
    step_seconds, cpu_seconds = (steady[-1] - steady[0]) / (len(steady) - 1)
    figures = {
        "step_seconds": step_seconds,
        "cpu_seconds": cpu_seconds,
        "waited": stream.seconds_waited / len(run.ended),
        "reporting": run.reporting / len(run.ended),
        "memory": own_bytes(),
    }
    (Path(config["run_dir"]) / f"rank-{rank()}.json").write_text(json.dumps(figures))


def own_bytes() -> int:
    """Memory of this process, shared pages counted by its share of them."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Pss in /proc/self/smaps_rollup")


def make_table(task: int) -> pa.Table:
    """Prepared rows of GLUE's lengths."""
    random = np.random.default_rng(task)
    lengths = random.integers(10, 64, SET_ROWS)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    tokens = pa.array(random.integers(0, 30_000, lengths.sum(), dtype=np.int32))
    types = pa.array(np.zeros(lengths.sum(), dtype=np.int8))
    return single_encodings(
        np.arange(SET_ROWS),
        pa.ListArray.from_arrays(offsets, tokens),
        pa.ListArray.from_arrays(offsets, types),
        np.zeros(SET_ROWS, dtype=np.float32),
    )


def make_job(workers: int, steps: int) -> TrainJob:
    """The job of `workers` with `ROWS` rows and `POOL` times as many candidates each."""
    settings = Settings(
        sampler=SamplerSettings(policy="uncertainty", select="none", pool=1.0, round_steps=ROUND_STEPS),
        train=TrainSettings(batch_size=ROWS * workers, max_steps=steps),
    )
    tasks = resolve_tasks(GLUE)
    job = build_job(settings, tuple(tasks), (SET_ROWS,) * len(tasks))
    return replace(job, mixture=replace(job.mixture, candidates_per_step=POOL * ROWS * workers))


def run(workers: int, steps: int, seconds: float, sets: Sequence[Any], folder: Path) -> dict[str, float]:
    """Figures of a run, of the mean worker."""
    run_dir = folder / str(workers)
    run_dir.mkdir()
    job = make_job(workers, steps)
    trainer = TorchTrainer(
        worker,
        train_loop_config={"job": job, "sets": list(sets), "seconds": seconds, "run_dir": str(run_dir)},
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": CPUS_PER_WORKER}),
        run_config=RunConfig(  # type: ignore[arg-type]  # Train V2's own; the stub still names V1's
            name="checkpoints",
            storage_path=str(run_dir),
            callbacks=[
                Follow(
                    RunPaths(run_dir, CheckpointStore(str(run_dir / CHECKPOINTS))), job.mixture.tasks, keep=1
                )
            ],
        ),
    )
    trainer.fit()
    ranks = [json.loads(path.read_text()) for path in sorted(run_dir.glob("rank-*.json"))]
    assert len(ranks) == workers
    found = {name: float(np.mean([figures[name] for figures in ranks])) for name in ranks[0]}
    return {"efficiency": seconds / found["step_seconds"], **found}


def real_step_seconds() -> float:
    """Seconds of a MiniLM step of `ROWS` rows chosen out of `POOL` times as many, on one thread."""
    torch.set_num_threads(1)
    tables = read_tables(TASKS, "embedded", 250)
    steps = Steps(TASKS, as_rows(tables), ROWS)
    learner, pool = steps.learner("base", has_bfloat16(steps.device)), steps.draw(POOL * ROWS)
    return median(time_in_turn({"step": lambda: steps.select_and_train(learner, pool)}, 7)["step"])


def plan_seconds(workers: int) -> float:
    """Seconds that a rank of so many workers plans a round."""
    began = time.perf_counter()
    mixture = Mixture(
        tasks=GLUE,
        sizes=(10**9, *[SET_ROWS] * (len(GLUE) - 1)),
        policy="uniform",
        options=PolicyOptions(),
        candidates_per_step=POOL * ROWS * workers,
        round_steps=ROUND_STEPS,
        max_steps=ROUND_STEPS,
        seed=1,
        world_size=workers,
    )
    mixture.plan(np.full(len(GLUE), 1 / len(GLUE)), [0] * len(GLUE), round_start=0)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=75, help=f"steps of a run, {ROUND_STEPS} a round")
    parser.add_argument(
        "--step-seconds", type=float, default=None, help="length of a step; default: measured"
    )
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    seconds = arguments.step_seconds or real_step_seconds()
    planned = median(plan_seconds(1000) for _ in range(5))
    print(f"a step of {ROWS} rows out of {POOL * ROWS} candidates takes {seconds:.3f} s on one thread")
    print(f"a rank of 1,000 workers plans a round of {ROUND_STEPS} steps in {planned:.2f} s")
    ray.init(
        # More than there are: every worker sleeps most of the time.
        num_cpus=math.ceil(max(arguments.workers) * CPUS_PER_WORKER) + CPUS_FOR_DATA,
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    configure_ray_data()
    sets = [ray.put(make_table(task)) for task in range(len(GLUE))]
    print("workers  efficiency  s a step  of a worker: CPU s  waiting  reporting   memory")
    found = {}
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        for workers in arguments.workers:
            figures = found[workers] = run(workers, arguments.steps, seconds, sets, Path(folder))
            wanted = "   (at least 90%)" if workers == 8 else ""
            print(
                f"{workers:7}  {figures['efficiency']:10.1%}  {figures['step_seconds']:8.3f}  "
                f"{figures['cpu_seconds']:18.4f}  {figures['waited'] / seconds:7.2%}  "
                f"{figures['reporting'] / seconds:9.2%}  {figures['memory'] / 2**20:4.0f} MiB{wanted}",
                flush=True,
            )
    flat = {f"{name}_{workers}": value for workers, run_ in found.items() for name, value in run_.items()}
    print(json.dumps({"sleep": seconds, "plan_1000_workers": planned, **flat}))


if __name__ == "__main__":
    main()
