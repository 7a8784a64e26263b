"""Every task of the paper is read as it lies in real data: each kind's columns are there, and rows are trained on."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pipeline.data.columns import columns_of
from pipeline.data.formats import Origin, encode_rows
from pipeline.data.sources.open import open_source
from pipeline.data.tokenization import tokenizer_json
from pipeline.tasks.base import Task
from pipeline.tasks.families import glue, mrqa, nli, superglue, wnut

FAMILIES = (glue, superglue, mrqa, wnut, nli)
ABSENT = {"superglue_rte", "newsqa", "triviaqa", "searchqa"}  # from the slices


@pytest.mark.parametrize(
    "task",
    [task for family in FAMILIES for task in family.TASKS if task.name not in ABSENT],
    ids=lambda task: task.name,
)
def test_a_task_is_read_as_its_set_is(task: Task, glue_data: Path, tokenizer_dir: str) -> None:
    source = open_source(str(glue_data))
    tokenizer = Tokenizer.from_str(tokenizer_json(tokenizer_dir))
    for split in (task.train_split, source_eval(task, source.splits(task))):
        block = source.blocks(task, split)[0]
        table = block.read().slice(0, 200)
        origin = Origin(task=task.name, name=block.origin, row_ids=range(table.num_rows))
        training = split == task.train_split
        rows = encode_rows(table, columns_of(task), tokenizer, 384, for_training=training, origin=origin)
        assert rows.table.num_rows == table.num_rows
        assert rows.trainable.mean() > 0.9, rows.report()
        needs_reference = task.head.kind in ("choice", "span", "tagging") or task.name == "multirc"
        assert (rows.table["reference"].null_count == 0) == (needs_reference and not training)


def source_eval(task: Task, splits: tuple[str, ...]) -> str:
    return next(split for split, _ in task.eval_splits if split in splits)
