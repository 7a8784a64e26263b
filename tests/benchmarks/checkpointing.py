"""The cost of checkpoints: steps after a checkpoint against steps without one, in the same run.

    python tests/benchmarks/checkpointing.py [--pairs 4] [--every 100] [--data <folder of Parquet>]

Trains MiniLM on two Ray Train workers, on the 8 GLUE tasks of the folder, or on the embedded suite. It saves a
checkpoint every 2 x `--every` steps. The `--every` steps after a checkpoint include its cost: the hand-over of
the state, and the upload and the checksums, which run beside the steps. The next `--every` steps have no
checkpoint. Both are compared in seconds per computed token, because the row lengths change with the task mix.
The result is the relative difference, the median over the pairs: the loss of a run that saves every `--every`
steps. The last line is JSON.
"""

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
from tests.benchmarks.common import GLUE, make_parser

ROUND_STEPS = 25


def make_settings(folder: Path, data: str | None, pairs: int, every: int) -> Settings:
    """Settings of the run, with one more pair than is counted: the first one warms up."""
    database, prepared = f"sqlite:///{folder}/mlflow.db", str(folder / "prepared")
    source: dict[str, Any] = {"source": data, "tasks": GLUE} if data else {}
    return Settings(
        run=RunSettings(name="run", output_dir=str(folder / "runs"), tracking_uri=database),
        data=DataSettings(max_eval_rows=8, prepared_dir=prepared, **source),
        model=ModelSettings(freeze="embeddings"),
        sampler=SamplerSettings(round_steps=ROUND_STEPS),
        train=TrainSettings(
            max_steps=2 * every * (pairs + 1) + ROUND_STEPS, eval_every=None, checkpoint_every=2 * every
        ),
    )


def read_pairs(
    summaries: Sequence[Mapping[str, Any]], pairs: int, every: int
) -> list[tuple[tuple[float, int], ...]]:
    """(seconds, computed tokens) of the steps with a checkpoint and of those without, for every pair.

    A chunk's `elapsed` is the time before the checkpoint of its last step.
    """
    elapsed = {summary["last_step"]: summary["elapsed"] for summary in summaries}

    def half(start: int) -> tuple[float, int]:
        tokens = sum(s["tokens_computed"] for s in summaries if start < s["last_step"] <= start + every)
        return elapsed[start + every] - elapsed[start], tokens

    starts = [2 * every * pair for pair in range(1, pairs + 1)]
    return [(half(start), half(start + every)) for start in starts]


def main() -> None:
    """Trains, compares and prints."""
    parser = make_parser(__doc__)
    parser.add_argument("--pairs", type=int, default=4, help="checkpoints to count")
    parser.add_argument("--every", type=int, default=100, help="steps, a multiple of 25")
    arguments = parser.parse_args()
    every: int = arguments.every
    if every % ROUND_STEPS:
        parser.error(f"--every {every} is not a multiple of {ROUND_STEPS}")
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        data = arguments.data and str(Path(arguments.data).absolute())
        train(make_settings(Path(name), data, arguments.pairs, every), lambda line: print(line, flush=True))
        summaries = [read_summary(chunk) for chunk in list_chunks(Path(name) / "runs" / "run")]
    pairs = read_pairs(summaries, arguments.pairs, every)
    for (saved, saved_tokens), (plain, plain_tokens) in pairs:
        print(
            f"  {every} steps with a checkpoint: {saved:7.2f} s for {saved_tokens:,.0f} tokens; "
            f"without: {plain:7.2f} s for {plain_tokens:,.0f}"
        )
    lost = median((a / a_tokens) / (b / b_tokens) - 1 for (a, a_tokens), (b, b_tokens) in pairs)
    print(f"  cost of a checkpoint every {every} steps: {100 * lost:.1f} % (at most 3 %)")
    print(json.dumps({"every": every, "pairs": pairs, "lost": lost}))


if __name__ == "__main__":
    main()
