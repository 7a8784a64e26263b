"""A trained model, logged to a real MLflow server, registered, and loaded as a server would load it."""

import pathlib

import mlflow
import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow import MlflowClient
from transformers import AutoTokenizer

from camtl import CaMtlConfig, CaMtlModel, HeadSpec
from pipeline.serving.pyfunc import save_pyfunc
from pipeline.tracking.runs import start_run
from pipeline.tracking.tracker import Tracker
from tests.mlflow_server import MlflowServer

HEADS = {
    "squad": HeadSpec(kind="span"),
    "sst2": HeadSpec(num_labels=2, label_names=("negative", "positive")),
    "stsb": HeadSpec(kind="regression", num_labels=1, label_range=(0, 5)),
    "rte": HeadSpec(num_labels=2),
}


@pytest.fixture
def model_dir(tmp_path: pathlib.Path, tiny_backbone: str) -> str:
    config = CaMtlConfig(tasks=["sst2", "stsb", "rte", "squad"], heads=HEADS, max_seq_length=16)
    CaMtlModel.from_backbone(tiny_backbone, config).save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(tiny_backbone).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_a_logged_model_can_be_registered_and_answers_rows_of_mixed_tasks(
    mlflow_server: MlflowServer, model_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start_run(mlflow_server.uri, "tests", "a model", {"run": {"seed": 1}}, {})
    tracker = Tracker(mlflow_server.uri, run_id)
    tracker.log_model(model_dir, ["sst2", "stsb", "rte"], save_pyfunc)
    assert tracker.finish("FINISHED")
    outputs = MlflowClient(mlflow_server.uri).get_run(run_id).outputs
    assert outputs is not None
    [logged] = outputs.model_outputs

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    version = mlflow.register_model(f"models:/{logged.model_id}", "camtl")
    served = mlflow.pyfunc.load_model(f"models:/camtl/{version.version}")
    rows = pd.DataFrame(
        {
            "task": ["stsb", "sst2", "rte", "sst2"],
            "text": ["the good cat", "a good cat", "the dog sat", "not good"],
            "text_pair": ["a dog", None, "the dog ran", None],
        },
        index=[7, 3, 5, 1],
    )
    answers = served.predict(rows)
    assert answers.index.equals(rows.index)
    assert answers["label"].isna().tolist() == [True, False, False, False]
    assert set(answers["label"][[3, 1]]) <= {"negative", "positive"}
    assert answers["label"][5] in {"0", "1"}
    assert answers["score"][[3, 5, 1]].between(0.5, 1.0).all()
    alone = served.predict(rows.loc[[1], ["task", "text"]])
    assert alone["score"][1] == pytest.approx(answers["score"][1], abs=1e-5)
    rows.loc[3, "text_pair"] = "a dog"
    for refused, message in (
        (pd.DataFrame({"task": ["qqp"], "text": ["a"]}), "no task 'qqp'"),
        (pd.DataFrame({"task": ["squad"], "text": ["a"]}), "'squad' is a span task, whose rows have other"),
        (rows, "task 'sst2': some rows have a text_pair and others have none"),
    ):
        with pytest.raises(ValueError, match=message):
            served.predict(refused)
