"""Tasks that a few lines of YAML define train together with RTE; one has unanswerable questions (as SQuAD 2)."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from camtl import CaMtlModel
from pipeline.config import Settings
from pipeline.experiments.evaluate import evaluate_model
from pipeline.experiments.train import train
from tests.pipeline.small_run import STEPS, make_settings

TASKS = """\
reviews:
  files: {train: reviews.csv, validation: reviews.csv}
  text_columns: ["{title}: {body}"]
  label_column: verdict
  label_names: [bad, good]
likeness:
  kind: regression
  files: {train: pairs.jsonl, validation: pairs.jsonl}
  text_columns: [first, second]
  label_range: [0, 5]
  uncertainty_from: reviews
names:
  kind: tagging
  files: {train: names.conll, validation: names.conll}
  label_names: [O, B-animal, I-animal]
doubtful:
  kind: span
  files: {train: questions.jsonl, validation: questions.jsonl}
  null_threshold: 1000000
"""
QUESTIONS = [
    {"question": "a house", "context": "the cat sat", "answers": {"text": ["cat"], "answer_start": [4]}},
    {"question": "a house", "context": "a dog ran", "answers": {"text": [], "answer_start": []}},
    {"question": "a house", "context": "the dog ran", "answers": {"text": ["dog"], "answer_start": [4]}},
]


@pytest.fixture
def settings(tmp_path: Path, tiny_backbone: str) -> Settings:
    """A run in this process on RTE from a folder and the tasks of a file."""
    mine = tmp_path / "mine"
    mine.mkdir()
    reviews = ['"A ""very"" good, good house",the dog sat,good', "Not good,a house,bad", "The end,ran,0"]
    (mine / "reviews.csv").write_text("\n".join(["title,body,verdict", *reviews * 8]))
    pairs = [{"first": "the cat sat", "second": "a dog ran", "label": n / 4} for n in range(20)]
    (mine / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    (mine / "names.conll").write_text("the O\ncat B-animal\ndog I-animal\nsat O\n\na O\nhouse O\n\n" * 10)
    (mine / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS * 8)))
    (mine / "tasks.yaml").write_text(TASKS)
    rte = tmp_path / "data" / "nyu-mll" / "glue" / "rte"
    rte.mkdir(parents=True)
    rows = pa.table(
        {"sentence1": ["the cat sat"] * 24, "sentence2": ["a dog ran"] * 24, "label": [0, 1, -1] * 8}
    )
    for split in ("train", "validation"):
        pq.write_table(rows, rte / f"{split}.parquet")
    return make_settings(
        tmp_path,
        tiny_backbone,
        data={
            "source": str(tmp_path / "data"),
            "tasks": ("rte", "reviews", "likeness", "names", "doubtful"),
            "task_files": (str(mine / "tasks.yaml"),),
        },
        sampler={"policy": "uniform", "select": "none", "pool": 1.0},  # every batch contains every task
        cluster={"num_workers": 0},
    )


@pytest.mark.usefixtures("ray_cluster")
def test_tasks_of_a_file_train_with_rte(settings: Settings, tmp_path: Path) -> None:
    results = train(settings, lambda _: None)
    assert {task: list(scores) for task, scores in results["tasks"].items()} == {
        "rte": ["accuracy"],
        "reviews": ["accuracy"],
        "likeness": ["pearson", "spearman"],
        "names": ["entity_f1"],
        "doubtful": ["em", "token_f1"],
    }
    assert results["steps"] == STEPS
    trained = {task: counts["rows_trained"] for task, counts in results["sampling"].items()}
    assert all(trained.values()), trained
    assert results["sampling"]["rte"]["rows_available"] == 16, "rows of label -1 are not trained on"
    model: CaMtlModel = CaMtlModel.from_pretrained(tmp_path / "runs" / "run" / "model")
    assert model.config.head_spec("names").label_names == ("O", "B-animal", "I-animal")
    assert model.config.head_spec("doubtful").null_threshold == 1e6
    assert results["sampling"]["doubtful"]["rows_available"] == 24, "unanswerable questions are trained on"
    unanswerable = [
        n % 3 == 1 for n in range(20)
    ]  # of 20 evaluation rows; at this threshold every prediction is ""
    assert results["tasks"]["doubtful"]["em"] == pytest.approx(100 * sum(unanswerable) / 20)
    scores = evaluate_model(tmp_path / "runs" / "run", settings)
    for task, measured in results["tasks"].items():
        assert scores["tasks"][task] == pytest.approx(measured, abs=1e-3)
