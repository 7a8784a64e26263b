"""A trained model, logged to a real MLflow server, registered, and loaded as a server would load it."""

import pathlib

import mlflow
import mlflow.pyfunc
import pandas as pd  # type: ignore[import-untyped]
import pytest
from mlflow import MlflowClient
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from camtl import CaMtlConfig, CaMtlModel, HeadSpec
from pipeline.serving.pyfunc import save_pyfunc
from pipeline.tracking.runs import start_run
from pipeline.tracking.tracker import Tracker
from tests.mlflow_server import MlflowServer

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film", "it", "rains")


@pytest.fixture
def model_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    tokenizer = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(tmp_path / "model")
    encoder = BertConfig(vocab_size=len(WORDS), hidden_size=16, num_attention_heads=2, intermediate_size=32)
    encoder.num_hidden_layers = 2
    BertModel(encoder).save_pretrained(tmp_path / "backbone")
    config = CaMtlConfig(
        tasks=["sst2", "stsb", "rte", "squad"],
        heads={
            "squad": HeadSpec(kind="span"),
            "sst2": HeadSpec(num_labels=2, label_names=("negative", "positive")),
            "stsb": HeadSpec(kind="regression", num_labels=1, label_range=(0, 5)),
            "rte": HeadSpec(num_labels=2),
        },
        max_seq_length=16,
    )
    CaMtlModel.from_backbone(str(tmp_path / "backbone"), config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_logged_model_can_be_registered_and_answers_rows_of_mixed_tasks(
    mlflow_server: MlflowServer, model_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start_run(mlflow_server.uri, "tests", "a model", {"run": {"seed": 1}}, {})
    tracker = Tracker(mlflow_server.uri, run_id)
    tracker.log_model(str(model_dir), ["sst2", "stsb", "rte"], save_pyfunc)
    assert tracker.finish("FINISHED")
    assert tracker.model_uri is not None
    outputs = MlflowClient(mlflow_server.uri).get_run(run_id).outputs
    assert outputs is not None
    assert [f"models:/{output.model_id}" for output in outputs.model_outputs] == [tracker.model_uri]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    version = mlflow.register_model(tracker.model_uri, "camtl")
    served = mlflow.pyfunc.load_model(f"models:/camtl/{version.version}")
    rows = pd.DataFrame(
        {
            "task": ["stsb", "sst2", "rte", "sst2"],
            "text": ["a good film", "a good film", "it rains", "bad"],
            "text_pair": ["a bad film", None, "it rains a film", None],
        },
        index=[7, 3, 5, 1],
    )
    answers = served.predict(rows)
    assert list(answers.index) == [7, 3, 5, 1]
    assert answers["label"].isna().tolist() == [True, False, False, False]
    assert set(answers["label"][[3, 1]]) <= {"negative", "positive"}
    assert answers["label"][5] in {"0", "1"}
    assert answers["score"][[3, 5, 1]].between(0.5, 1.0).all()
    alone = served.predict(rows.loc[[1], ["task", "text"]])
    assert alone["score"][1] == pytest.approx(answers["score"][1], abs=1e-5)
    with pytest.raises(ValueError, match="no task 'qqp'"):
        served.predict(pd.DataFrame({"task": ["qqp"], "text": ["a"]}))
    with pytest.raises(ValueError, match="task 'squad' is a span, whose rows are more than a text or two"):
        served.predict(pd.DataFrame({"task": ["squad"], "text": ["a"]}))
