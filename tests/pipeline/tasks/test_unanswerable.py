"""A task like SQuAD 2, where some questions have no answer: from JSONL to scores."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer

from camtl import CaMtlConfig, CaMtlModel
from pipeline.data.columns import columns_of
from pipeline.data.formats import Origin, encode_rows
from pipeline.data.sources.text_files import file_blocks
from pipeline.data.task_files import load_task_files
from pipeline.tasks.base import Task
from pipeline.training.evaluation import EvalSet, measure, predict_all
from pipeline.training.scoring import Precision
from tests.toy import ENCODER, randomise

YAML = """\
doubtful:
  kind: span
  files: {train: questions.jsonl, validation: questions.jsonl}
  null_threshold: %s
"""
QUESTIONS = [
    {"context": "the cat sat", "answers": {"text": ["cat"], "answer_start": [4]}},
    {"context": "a dog ran", "answers": {"text": [], "answer_start": []}},
    {"context": "the dog ran very not good", "answers": {"text": ["very"], "answer_start": [12]}},
]


def task_of(folder: Path, threshold: float) -> Task:
    lines = (json.dumps({"question": "a house", **row}) for row in QUESTIONS)
    (folder / "questions.jsonl").write_text("\n".join(lines))
    (folder / "tasks.yaml").write_text(YAML % threshold)
    [task] = load_task_files([str(folder / "tasks.yaml")])
    return task


def encoded(task: Task, tokenizer_dir: str, *, training: bool) -> pa.Table:
    """The prepared rows of the file; for training only the trainable ones."""
    tokenizer = Tokenizer.from_file(str(Path(tokenizer_dir) / "tokenizer.json"))
    [block] = file_blocks(dict(task.files)["train"])
    rows = encode_rows(
        block.read(),
        columns_of(task),
        tokenizer,
        16,
        for_training=training,
        origin=Origin(task.name, block.origin, range(block.rows)),
    )
    table = rows.table.append_column("row_id", pa.array(range(block.rows)))
    return table.filter(pa.array(rows.trainable)) if training else table


def test_unanswerable_questions_are_trained_on(tmp_path: Path, tokenizer_dir: str) -> None:
    table = encoded(task_of(tmp_path, 0.0), tokenizer_dir, training=True)
    assert table["row_id"].to_pylist() == [0, 1, 2]
    begins = [[mark for mark in marks if mark > 0] for marks in table["token_marks"].to_pylist()]
    assert begins == [[3], [3], [3]]
    assert table["token_marks"].to_pylist()[1][0] == 3, "the first token stands for no answer"


@pytest.mark.parametrize(("threshold", "unanswered"), [(1e6, 3), (-1e6, 0)])
def test_the_threshold_of_the_task_decides_what_is_answered(
    tmp_path: Path, tokenizer_dir: str, threshold: float, unanswered: int
) -> None:
    task = task_of(tmp_path, threshold)
    config = CaMtlConfig(
        tasks=[task.name], heads={task.name: task.head}, max_seq_length=16, backbone_config=dict(ENCODER)
    )
    CaMtlModel(config).save_pretrained(tmp_path / "model")
    model: CaMtlModel = CaMtlModel.from_pretrained(tmp_path / "model").eval()
    randomise(model, 0)
    evals = {task.name: {"validation": encoded(task, tokenizer_dir, training=False)}}
    predictions = predict_all(
        model, EvalSet.of_tables([task.name], evals), Precision(torch.device("cpu"), bfloat16=False)
    )
    assert predictions is not None
    answers, _ = predictions[task.name]["validation"]
    assert [answer == "" for answer in answers].count(True) == unanswered
    if unanswered:
        assert measure([task], predictions)["average"] == pytest.approx(100 / 3), "one is unanswerable"
