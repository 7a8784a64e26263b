"""Fixtures of training's tests."""

from typing import Any

import pytest
import torch

from tests.pipeline.training.two_ranks import work


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> list[dict[str, Any]]:
    """The results of `tests.pipeline.training.two_ranks.work` in each of two processes joined by gloo."""
    folder = tmp_path_factory.mktemp("two-ranks")
    torch.multiprocessing.spawn(work, (str(folder), tiny_backbone), nprocs=2)
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(2)]
