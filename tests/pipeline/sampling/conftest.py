"""Fixtures of the sampler's tests."""

from pathlib import Path

import pytest

from pipeline.data.preparation.prepared import PreparedSplit
from tests.pipeline.sampling.rows import TABLES
from tests.toy import make_split


@pytest.fixture
def splits(tmp_path: Path) -> list[PreparedSplit]:
    """The tables in files of 15 rows, in row groups of 4."""
    return [
        make_split(table, tmp_path / str(task), part_rows=15, row_group_rows=4)
        for task, table in enumerate(TABLES)
    ]
