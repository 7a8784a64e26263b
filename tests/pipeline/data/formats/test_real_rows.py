"""Rows of the real sets: every marked word, tag and answer has its tokens, and they lead back to the row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from pipeline.data.columns import columns_of
from pipeline.data.formats import EncodedRows, Origin, encode_rows
from pipeline.data.formats.answers import same_words
from pipeline.data.sources.base import used_splits
from pipeline.data.sources.open import open_source
from pipeline.tasks.base import Task
from pipeline.tasks.families import mrqa, superglue, wnut
from pipeline.tasks.registry import GROUPS, resolve_tasks

ABSENT = ("newsqa", "triviaqa", "searchqa")  # from the real data
PAPER = resolve_tasks(name for name in GROUPS["paper_26"] if name not in ABSENT)
TASKS = {task.name: task for family in (mrqa, superglue, wnut) for task in family.TASKS}
Pairs = list[tuple[dict[str, Any], dict[str, Any]]]  # source row, prepared columns
EncodeTask = Callable[..., tuple[Pairs, EncodedRows]]


@pytest.fixture
def encode_task(glue_data: Path, pretrained: Tokenizer) -> EncodeTask:
    """Encodes the first 400 rows of a task's split for evaluation."""

    def encode_first(name: str, split: str, length: int = 128) -> tuple[Pairs, EncodedRows]:
        table = open_source(str(glue_data)).blocks(TASKS[name], split)[0].read().slice(0, 400)
        origin, columns = Origin(name, split, range(table.num_rows)), columns_of(TASKS[name])
        encoded = encode_rows(table, columns, pretrained, length, for_training=False, origin=origin)
        return list(zip(table.to_pylist(), encoded.table.to_pylist(), strict=True)), encoded

    return encode_first


@pytest.mark.parametrize("name", ["squad", "naturalquestions", "hotpotqa"])
def test_every_answer_is_marked_at_its_tokens(encode_task: EncodeTask, name: str) -> None:
    rows, encoded = encode_task(name, "validation")
    assert encoded.trainable.all()
    for row, columns in rows:
        reference = json.loads(columns["reference"])
        assert reference["answers"] == row["answers"]
        marks = np.array(columns["token_marks"])
        allowed, spans = marks[marks != -100], np.array(reference["spans"])
        assert allowed.shape == (len(spans),)
        begins, ends = spans[np.isin(allowed, (1, 3)), 0], spans[np.isin(allowed, (2, 3)), 1]
        texts = [row["context"][begin:end] for begin, end in zip(begins, ends, strict=True) if begin != -1]
        assert texts
        for text in texts:
            # A token may reach further than the answer: `1,000m` for `1,000`.
            assert any(same_words(text, gold) or gold.lower() in text.lower() for gold in row["answers"])


def test_tags_are_those_of_the_words(encode_task: EncodeTask) -> None:
    rows, encoded = encode_task("wnut17", "validation")
    assert encoded.report() == {}
    seen = 0
    for row, columns in rows:
        reference = json.loads(columns["reference"])
        assert reference["tags"] == [TASKS["wnut17"].head.label_names[tag] for tag in row["ner_tags"]]
        marks = [mark for mark in columns["token_marks"] if mark != -100]
        assert marks == [row["ner_tags"][word] for word in reference["words"]]
        seen += len(marks)
    assert seen > 0.999 * sum(len(row["tokens"]) for row, _ in rows)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("name", ["wic", "wsc"])
def test_both_words_are_marked(encode_task: EncodeTask, pretrained: Tokenizer, name: str, split: str) -> None:
    rows, encoded = encode_task(name, split)
    assert encoded.report() == {}
    for row, columns in rows:
        words = [
            row[f"span{n}_text"] if name == "wsc" else row[f"sentence{n}"][row[f"start{n}"] : row[f"end{n}"]]
            for n in (1, 2)
        ]
        ids, marks = np.array(columns["input_ids"]), np.array(columns["token_marks"])
        for mark, word, other in ((1, *words), (2, *words[::-1])):
            marked = ids[marks == mark].tolist()
            if name == "wsc" and f" {other} ".lower() in f" {word} ".lower():
                assert marked  # the `her` of `her mother` is the other word
            else:
                assert marked == pretrained.encode(word, add_special_tokens=False).ids


def test_copa_and_record_have_one_right_choice_among_their_encodings(encode_task: EncodeTask) -> None:
    rows, encoded = encode_task("copa", "train")
    assert encoded.table["label"].to_pylist() == [row["label"] for row, _ in rows]
    assert {len(columns["encoding_lengths"]) for _, columns in rows} == {2}
    rows, encoded = encode_task("record", "train", length=384)
    assert encoded.report() == {}
    for row, columns in rows:
        choices = json.loads(columns["reference"])["choices"]
        assert choices[int(columns["label"])] in row["answers"]
        assert len(columns["encoding_lengths"]) == len(choices) == len(set(row["entities"]))


def test_references_of_multirc_name_its_questions(encode_task: EncodeTask) -> None:
    rows, _ = encode_task("multirc", "validation")
    keys = [tuple(json.loads(columns["reference"])["question"]) for _, columns in rows]
    assert keys == [(row["idx"]["paragraph"], row["idx"]["question"]) for row, _ in rows]
    assert len(set(keys)) < len(keys) / 3


@pytest.mark.parametrize("task", PAPER, ids=lambda task: task.name)
def test_a_task_of_the_paper_is_read_from_real_rows(
    task: Task, glue_data: Path, tokenizer: Tokenizer
) -> None:
    source = open_source(str(glue_data))
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
