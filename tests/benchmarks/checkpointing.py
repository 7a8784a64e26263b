"""What checkpoints cost a run: steps after a checkpoint against steps without one, in the same run.

    python tests/benchmarks/checkpointing.py [--pairs 4] [--every 100] [--data <folder of Parquet>]

MiniLM on two Ray Train workers, on the 8 GLUE tasks where there is a folder of them, else on the embedded
suite. A checkpoint is saved every 2 x `--every` steps. The time of the `--every` steps behind it holds all
that it costs: handing the state over, and the upload and the checksums beside the steps. The same number of
steps behind those has none. Both are counted in seconds per computed token, for the mix and with it the length of
the rows changes from step to step. Their difference, as a share of the steps without, is what a run loses that
saves every `--every` steps: the median over pairs. Ends with one line of JSON.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.config import DataSettings, ModelSettings, RunSettings, SamplerSettings, Settings, TrainSettings
from pipeline.experiments.train import train
from pipeline.runs.records import list_chunks, read_summary

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
ROUND_STEPS = 25


def settings_of(folder: Path, data: str | None, pairs: int, every: int) -> Settings:
    """The run: one more pair than is counted, for the first one warms up."""
    tasks = DataSettings(source=data, tasks=GLUE) if data else DataSettings()
    return Settings(
        run=RunSettings(
            name="run", output_dir=str(folder / "runs"), tracking_uri=f"sqlite:///{folder}/mlflow.db"
        ),
        data=DataSettings(
            source=tasks.source, tasks=tasks.tasks, max_eval_rows=8, prepared_dir=str(folder / "prepared")
        ),
        model=ModelSettings(freeze="embeddings"),
        sampler=SamplerSettings(round_steps=ROUND_STEPS),
        train=TrainSettings(
            max_steps=2 * every * (pairs + 1) + ROUND_STEPS, eval_every=None, checkpoint_every=2 * every
        ),
    )


def costs(
    summaries: Sequence[Mapping[str, Any]], pairs: int, every: int
) -> list[tuple[tuple[float, int], ...]]:
    """(seconds, computed tokens) of the steps behind a checkpoint and of those behind them, for every pair.

    Args:
        summaries: of all chunks of records; `elapsed` was noted before the checkpoint of its last step.
        pairs: how many.
        every: steps of either half.
    """
    elapsed = {summary["last_step"]: summary["elapsed"] for summary in summaries}

    def half(start: int) -> tuple[float, int]:
        tokens = sum(s["tokens_computed"] for s in summaries if start < s["last_step"] <= start + every)
        return elapsed[start + every] - elapsed[start], tokens

    starts = [2 * every * pair for pair in range(1, pairs + 1)]
    return [(half(start), half(start + every)) for start in starts]


def main() -> None:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=4, help="checkpoints that are counted")
    parser.add_argument("--every", type=int, default=100, help="steps, a multiple of 25")
    parser.add_argument("--data", default=None, help="folder of Parquet laid out like the Hub")
    arguments = parser.parse_args()
    if arguments.every % ROUND_STEPS:
        parser.error(f"--every {arguments.every} is no multiple of {ROUND_STEPS}")
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        data = arguments.data and str(Path(arguments.data).absolute())
        settings = settings_of(Path(name), data, arguments.pairs, arguments.every)
        train(settings, lambda line: print(line, flush=True))
        summaries = [read_summary(chunk) for chunk in list_chunks(Path(name) / "runs" / "run")]
    found = costs(summaries, arguments.pairs, arguments.every)
    for (saved, saved_tokens), (plain, plain_tokens) in found:
        print(
            f"  {arguments.every} steps behind a checkpoint {saved:7.2f} s for {saved_tokens:,.0f} tokens, "
            f"without {plain:7.2f} s for {plain_tokens:,.0f}"
        )
    lost = median(
        (saved / saved_tokens) / (plain / plain_tokens) - 1
        for (saved, saved_tokens), (plain, plain_tokens) in found
    )
    print(f"  lost to a checkpoint every {arguments.every} steps: {100 * lost:.1f} % (at most 3 %)")
    print(json.dumps({"every": arguments.every, "pairs": found, "lost": lost}))


if __name__ == "__main__":
    main()
