"""Shared fixtures: one Ray, an MLflow server, real data where present, small encoders and tokenizers."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from pipeline.experiments.train import train
from tests.faults.servers import CREDENTIALS
from tests.mlflow_server import MlflowServer
from tests.pipeline.small_run import Finished, make_settings
from tests.toy import save_encoder

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("CAMTL_DATA", ROOT.parent / "shared" / "data"))

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("the", "a", "cat", "dog", "sat", "ran", "house", "not", "very", "good", "##s")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests of real data where the folder is absent."""
    if not (DATA / "nyu-mll" / "glue").is_dir():
        absent = pytest.mark.skip(
            reason=f"no real data in {DATA}: set CAMTL_DATA to a folder laid out like the Hub"
        )
        for item in items:
            if "glue_data" in getattr(item, "fixturenames", ()):
                item.add_marker(absent)


@pytest.fixture(scope="session")
def glue_data() -> Path:
    """Folder of real data: `<hub id>/<config>/<split>.parquet`."""
    return DATA


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A Ray with 2 CPUs, started once; its processes import the project from this tree."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(ROOT))
        environment.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # each report waits for a health check
        for name, value in CREDENTIALS.items():  # of the S3 test server
            environment.setenv(name, value)
        ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A running MLflow server; a test that stops it must start it again."""
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def ray_run(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> Finished:
    """A finished run on two Ray Train workers with rows from Ray Data."""
    home, lines = tmp_path_factory.mktemp("ray-run"), list[str]()
    results = train(make_settings(home, tiny_backbone), lines.append)
    return Finished(home, home / "runs" / "run", results, lines)


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., str]:
    """`make_tokenizer(folder, *words)` writes a tokenizer of a few words and `words`, and returns the folder."""
    return save_tokenizer


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a BERT tokenizer with a few words."""
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One torch thread: the models of tests are too small for more."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a random BERT with 2 layers and a tokenizer of a few words."""
    folder = tmp_path_factory.mktemp("backbone")
    save_encoder(folder)
    return save_tokenizer(folder)


def save_tokenizer(folder: Path, *words: str) -> str:
    ids = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *WORDS, *words))}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, **dict(zip(names, SPECIAL_TOKENS, strict=True))
    )
    tokenizer.save_pretrained(folder)
    return str(folder)
