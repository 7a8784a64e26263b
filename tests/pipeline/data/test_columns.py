"""Every task of the paper is read from real rows: each kind's columns exist, and rows can be trained on."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pipeline.data.columns import columns_of
from pipeline.data.formats import Origin, encode_rows
from pipeline.data.sources.base import used_splits
from pipeline.data.sources.open import open_source
from pipeline.data.tokenization import tokenizer_json
from pipeline.tasks.base import Task
from pipeline.tasks.registry import GROUPS, resolve_tasks

ABSENT = ("newsqa", "triviaqa", "searchqa")  # from the real data
TASKS = resolve_tasks(name for name in GROUPS["paper_26"] if name not in ABSENT)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_is_read_from_real_rows(task: Task, glue_data: Path, tokenizer_dir: str) -> None:
    source = open_source(str(glue_data))
    tokenizer = Tokenizer.from_str(tokenizer_json(tokenizer_dir))
    for split in used_splits(task, source.splits(task))[:2]:
        block = source.blocks(task, split)[0]
        table = block.read().slice(0, 200)
        origin = Origin(task=task.name, name=block.origin, row_ids=range(table.num_rows))
        training = split == task.train_split
        rows = encode_rows(table, columns_of(task), tokenizer, 384, for_training=training, origin=origin)
        assert rows.table.num_rows == table.num_rows
        assert rows.trainable.mean() > 0.9, rows.report()
        needs_reference = task.head.kind in ("choice", "span", "tagging") or task.name == "multirc"
        assert (rows.table["reference"].null_count == 0) == (needs_reference and not training)
