"""What several tests of the pipeline share."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from pipeline.train import train
from tests.mlflow_server import MlflowServer
from tests.pipeline.small_run import Finished, make_settings
from tests.pipeline.two_ranks import work


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A running MLflow server; a test that stops it starts it again."""
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> list[dict[str, Any]]:
    """What `tests.pipeline.two_ranks.work` found in each of two processes joined by gloo."""
    folder = tmp_path_factory.mktemp("two-ranks")
    torch.multiprocessing.spawn(work, (str(folder), tiny_backbone), nprocs=2)
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="session")
def ray_run(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> Finished:
    """A run on two Ray Train workers, its rows through Ray Data."""
    home, lines = tmp_path_factory.mktemp("ray-run"), list[str]()
    results = train(make_settings(home, tiny_backbone), lines.append)
    return Finished(home, home / "runs" / "run", results, lines)
