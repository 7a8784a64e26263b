"""The cost of a step: CA-MTL against a plain encoder, and the sampling methods against each other.

    python tests/benchmarks/step.py [--rows 32] [--repeats 7] [--data <folder of Parquet>]

`bert_*` is transformers' own `BertModel`: padded to the batch's longest row or to 128 tokens, or packed. Matrix
products are in bfloat16 if the processor supports it, except where the name says fp32. All parameters train.
One run measures all candidates in turn, round by round; a ratio is the median over the rounds, so that other
load on the machine affects both sides. Rows are those of the 8 GLUE tasks of the folder, or of the embedded
suite. The last line is JSON.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import torch
import transformers
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
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
from tests.benchmarks.common import BACKBONE, GLUE, MAX_SEQ_LENGTH, make_parser, time_in_turn

LEARNING_RATE = 1e-5


def read_rows(tasks: Sequence[Task], source: str, per_task: int) -> TokenRows:
    """Tokenises the first `per_task` training rows of every task."""
    tokenizer = load_tokenizer(tokenizer_json(resolve_backbone(BACKBONE)))
    parts = []
    for number, task in enumerate(tasks):
        table = open_source(source).blocks(task, task.train_split)[0].read().slice(0, per_task)
        row_ids = range(table.num_rows)
        origin = formats.Origin(task.name, task.source, row_ids)
        encoded = formats.encode_rows(
            table, columns_of(task), tokenizer, MAX_SEQ_LENGTH, for_training=True, origin=origin
        ).table.append_column("row_id", pa.array(row_ids))
        parts.append(to_token_rows(encoded.append_column("task", pa.array([number] * table.num_rows))))
    return TokenRows.concatenate(parts)


def make_learner(model: CaMtlModel, device: torch.device, *, bfloat16: bool) -> Learner:
    """A learner that trains all parameters which are not frozen."""
    optimizer = make_optimizer(
        model, learning_rate=LEARNING_RATE, new_parameters_learning_rate=LEARNING_RATE, weight_decay=0.01
    )
    schedule = make_schedule(optimizer, 10_000, 0.1)
    precision = Precision(device, bfloat16)
    return Learner(model, optimizer, schedule, precision, max_grad_norm=1.0, gradient_accumulation=1)


class Steps:
    """The steps to compare, on the same rows."""

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
        return make_learner(self.models[variant], self.device, bfloat16=bfloat16)

    def draw(self, rows: int, *, per_task: bool = False) -> TokenRows:
        """Random rows of all tasks together, or with `per_task` as many of each task."""
        if not per_task:
            return self.rows.take(self.random.choice(len(self.rows), rows, replace=False))
        by_task = [np.flatnonzero(self.rows.task_ids == task) for task in range(len(self.tasks))]
        drawn = [self.random.choice(numbers, rows, replace=False) for numbers in by_task]
        return self.rows.take(np.concatenate(drawn))

    def train(self, learner: Learner, rows: TokenRows) -> None:
        """One optimiser step."""
        learner.step(rows, np.bincount(rows.task_ids, minlength=len(self.tasks)).astype(np.float64))

    def plain_padded(self, rows: TokenRows, width: int, *, bfloat16: bool) -> None:
        """One optimiser step of a plain `BertModel` on rows padded to `width`, as a user would pad them."""
        tokens = [torch.from_numpy(row) for row in np.split(rows.input_ids, rows.offsets[1:-1])]
        input_ids = pad_sequence(tokens, batch_first=True)
        input_ids = F.pad(input_ids, (0, width - input_ids.shape[1]))
        attention_mask = (torch.arange(width) < torch.from_numpy(rows.lengths)[:, None]).long()
        self._train_bert(bfloat16, input_ids=input_ids, attention_mask=attention_mask)

    def plain_packed(self, rows: TokenRows, *, bfloat16: bool) -> None:
        """One optimiser step of a plain `BertModel` on packed rows, with their positions and attention mask."""
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
        """Scores a pool, selects the most uncertain rows and trains on them."""
        copy_from = {number: None for number, task in enumerate(self.tasks) if task.head.kind == "regression"}
        selection = Selection(
            by_uncertainty=True,
            per_task_pool=True,
            copy_from=copy_from,
            max_share_per_task=None,
            dropout=False,
        )
        model = learner.model.eval()
        precision = Precision(self.device, has_bfloat16(self.device))
        entropy = uncertainties(model, pool, precision, self.tokens)
        chosen = selection.choose(entropy, pool.task_ids, self.batch)
        self.train(learner, pool.take(chosen))


def measure(steps: Steps, repeats: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of every step in each round, and shares of padding."""
    fast = has_bfloat16(steps.device)
    batch = steps.batch
    base, large, exact = (
        steps.learner("base", fast),
        steps.learner("large", fast),
        steps.learner("base", False),
    )
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


# (step, baseline, largest ratio of their seconds)
RATIOS = (
    ("camtl_base_packed", "bert_packed", 1.15),
    ("camtl_large_packed", "bert_packed", 1.30),
    ("camtl_base_packed", "bert_padded", 0.5),
    ("pool_2", "camtl_base_packed", 1.7),
    ("algorithm_1", "bert_padded_to_128_fp32", 0.8),
)


def main() -> None:
    """Measures and prints."""
    parser = make_parser(__doc__)
    parser.add_argument("--rows", type=int, default=32, help="rows trained per step")
    parser.add_argument("--repeats", type=int, default=7, help="rounds to count")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    tasks = resolve_tasks(GLUE) if arguments.data else TASKS
    rows = read_rows(tasks, arguments.data or "embedded", 250)
    seconds, shares = measure(Steps(tasks, rows, arguments.rows), arguments.repeats)
    medians = {name: median(values) for name, values in seconds.items()}
    length, threads = shares["tokens_a_row"], torch.get_num_threads()
    print(f"{arguments.rows} rows of {len(tasks)} tasks, {length:.1f} tokens a row, {threads} threads")
    for name, value in medians.items():
        print(f"  {name:24} {value:8.3f} s   {arguments.rows / value:7.1f} rows/s")
    ratios = {}
    for step, baseline, budget in RATIOS:
        name = f"{step} / {baseline}"
        ratios[name] = median(a / b for a, b in zip(seconds[step], seconds[baseline], strict=True))
        print(f"  {name:44} x{ratios[name]:.2f}   (at most x{budget:.2f})")
    training, scoring = shares["padding_training"], shares["padding_scoring"]
    print(f"  padding: training {training:.1%}, scoring {scoring:.1%}   (at most 5%)")
    print(json.dumps({**medians, **shares, **ratios}))


if __name__ == "__main__":
    main()
