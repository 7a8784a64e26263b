"""Preparing data: this project's Ray Data pipeline against `datasets.map`, with as many processes.

    python tests/benchmarks/prepare.py [--rows 60000] [--processes 2] [--data <folder of Parquet>]

Both load the tokenizer, tokenise the same rows, shuffle them and write Parquet: SST-2 of the folder, repeated
if it has too few rows, or the embedded suite. They run in turn, each in a process of its own.

Before the measurement modules are imported, Ray is running and 64 rows of another set are prepared, so that the
start of processes is not measured; the time of that first preparation is printed too. CPU seconds are those of
the process and its descendants; they depend less on other load than the elapsed time. Peak memory is the largest
sum over these processes, with a shared page counted once. The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from camtl.backbones import resolve_backbone
from pipeline.data.sources.open import open_source
from pipeline.tasks.registry import resolve_tasks
from tests.benchmarks.common import BACKBONE, MAX_SEQ_LENGTH, make_parser, process_bytes

FIRST_ROWS = 64
Prepare = Callable[[str, str, int], None]  # task, source, rows


def with_ray_data(processes: int, folder: str) -> Prepare:
    """This project's preparation, on a running Ray."""
    import ray

    from pipeline.data.preparation.prepare import prepare

    def run(task: str, source: str, rows: int) -> None:
        prepared = prepare(
            resolve_tasks([task]),
            open_source(source),
            tokenizer=resolve_backbone(BACKBONE),
            max_seq_length=MAX_SEQ_LENGTH,
            max_train_rows=rows,
            max_eval_rows=8,
            prepared_dir=folder,
        )
        assert prepared[task].train.rows == rows, prepared[task].train.rows

    ray.init("local", num_cpus=processes, include_dashboard=False, log_to_driver=False)
    return run


def with_datasets(processes: int, folder: str) -> Prepare:
    """`datasets.map`, `shuffle` and `to_parquet`, as their documentation shows."""
    import datasets

    def run(task: str, source: str, rows: int) -> None:
        [spec] = resolve_tasks([task])
        tokenizer = AutoTokenizer.from_pretrained(resolve_backbone(BACKBONE))
        blocks = open_source(source).blocks(spec, spec.train_split)
        table = datasets.concatenate_datasets([datasets.Dataset(block.read()) for block in blocks])
        columns = list(spec.text_columns)
        tokenised = table.select(range(rows)).map(
            lambda batch: tokenizer(
                *(batch[name] for name in columns), truncation=True, max_length=MAX_SEQ_LENGTH
            ),
            batched=True,
            num_proc=processes,
            remove_columns=columns,
        )
        tokenised.shuffle(seed=0).to_parquet(Path(folder) / f"{task}.parquet")

    datasets.disable_progress_bars()
    return run


METHODS = {"ray_data": with_ray_data, "datasets": with_datasets}


def run_method(method: str, task: str, source: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Prepares the first rows, then the counted ones; returns elapsed and CPU seconds."""
    run = METHODS[method](arguments.processes, arguments.folder)
    start = time.perf_counter()
    run("topic", "embedded", FIRST_ROWS)
    first_seconds = time.perf_counter() - start
    start, cpu_start = time.perf_counter(), cpu_seconds()
    run(task, source, arguments.rows)
    seconds = time.perf_counter() - start
    return {"first_seconds": first_seconds, "seconds": seconds, "cpu_seconds": cpu_seconds() - cpu_start}


def process_tree(root: int) -> dict[int, list[str]]:
    """Fields of `/proc/<pid>/stat`, from the state on, for a process and all its descendants."""
    stats: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended
            stats[int(path.parent.name)] = path.read_text().rsplit(")", 1)[1].split()
    tree = [root]
    for process in tree:  # grows
        tree += [child for child, fields in stats.items() if int(fields[1]) == process]
    return {process: stats[process] for process in tree if process in stats}


def cpu_seconds() -> float:
    """CPU seconds of this process and its descendants, including those that have ended."""
    ticks = sum(int(number) for fields in process_tree(os.getpid()).values() for number in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(method: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Runs a method in a process of its own and returns its figures."""
    peak, ended = 0, threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--method", method, "--folder", folder]
        command += ["--rows", str(arguments.rows), "--processes", str(arguments.processes)]
        command += ["--data", arguments.data] if arguments.data else []
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

        def watch_memory() -> None:
            nonlocal peak
            while not ended.wait(0.2):
                peak = max(peak, sum(map(process_bytes, process_tree(process.pid))))

        watcher = threading.Thread(target=watch_memory)
        watcher.start()
        output, _ = process.communicate()
        ended.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{method} failed")
    return {**json.loads(output.splitlines()[-1]), "peak_bytes": float(peak)}


def repeat_rows(folder: str, rows: int, target: str) -> str:
    """A folder with at least this many training rows of SST-2: the given one, or `target` with repeated rows."""
    source, copy = (Path(name) / "nyu-mll/glue/sst2" for name in (folder, target))
    table = pq.read_table(source / "train.parquet")
    if rows <= table.num_rows:
        return folder
    copy.mkdir(parents=True)
    repeated = pa.concat_tables([table] * -(-rows // table.num_rows)).slice(0, rows)
    pq.write_table(repeated, copy / "train.parquet", row_group_size=2_000)
    pq.write_table(pq.read_table(source / "validation.parquet"), copy / "validation.parquet")
    return target


def main() -> None:
    """Measures and prints."""
    parser = make_parser(__doc__)
    parser.add_argument("--rows", type=int, help="rows to prepare (default: 60,000; embedded 1,000)")
    parser.add_argument("--processes", type=int, default=2, help="processes of either method")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; each runs both methods")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.rows = arguments.rows or (60_000 if arguments.data else 1_000)
    task, source = ("sst2", arguments.data) if arguments.data else ("sentiment", "embedded")
    if arguments.method:
        print(json.dumps(run_method(arguments.method, task, source, arguments)))
        return
    results: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.data:
            arguments.data = repeat_rows(arguments.data, arguments.rows, folder)
        for _ in range(arguments.repeats):
            for method in METHODS:
                results[method].append(measure(method, arguments))
    summary: dict[str, Any] = {"rows": arguments.rows, "processes": arguments.processes}
    print(f"{arguments.rows} rows of {task}, {arguments.processes} processes, {arguments.repeats} rounds")
    for method, runs in results.items():
        figures = {name: median(run[name] for run in runs) for name in runs[0]}
        figures["peak_bytes"] = max(run["peak_bytes"] for run in runs)
        figures["rows_per_second"] = arguments.rows / figures["seconds"]
        summary |= {f"{method}_{name}": value for name, value in figures.items()}
        print(
            f"  {method:10} {figures['rows_per_second']:10,.0f} rows/s   {figures['cpu_seconds']:6.1f} CPU s   "
            f"peak memory {figures['peak_bytes'] / 2**20:8,.0f} MiB   "
            f"the first {FIRST_ROWS} rows {figures['first_seconds']:5.1f} s"
        )
    ratio = summary["ray_data_rows_per_second"] / summary["datasets_rows_per_second"]
    print(f"  ray_data / datasets: x{ratio:.2f} (at least x1)")
    print(json.dumps({**summary, "ray_data_over_datasets": ratio}))


if __name__ == "__main__":
    main()
