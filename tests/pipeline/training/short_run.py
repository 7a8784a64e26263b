"""A short run of one rank in this process, and its reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from camtl import CaMtlModel
from pipeline.runs.records import Records
from pipeline.sampling.batches import fetch_from_memory
from pipeline.training.evaluation import EvalSet
from pipeline.training.job import TrainJob
from pipeline.training.loop import Save, train_on_rank
from pipeline.training.scoring import Precision
from tests.pipeline.sampling.rows import SIZES, TABLES
from tests.toy import NAMES, make_job, make_table

CPU = torch.device("cpu")
PLAIN = Precision(CPU, bfloat16=False)
EVALS = {name: {"validation": make_table(task, 6, seed=1)} for task, name in enumerate(NAMES)}


@dataclass
class Reports:
    """Everything that a run reported; its checkpoints are stored in `folder`, by step."""

    folder: Path
    records: list[Records] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, records: Records, save: Save | None, metrics: dict[str, Any] | None) -> None:
        self.records.append(records)
        if metrics is not None:
            self.metrics.append(metrics)
        if metrics is not None and save is not None:
            self.checkpoint(metrics["step"]).mkdir(parents=True)
            save(self.checkpoint(metrics["step"]))

    def checkpoint(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def weights(self, step: int = 8) -> dict[str, torch.Tensor]:
        return CaMtlModel.from_pretrained(self.checkpoint(step) / "model").state_dict()

    def table(self, name: str, after: int = 0) -> pa.Table:
        """`rows` or `mix` of all records, in the steps after `after`."""
        parts = [pa.table(getattr(part, name)) for part in self.records]
        table = pa.concat_tables(parts)
        return table.filter(np.asarray(table["step"]) > after)


def run(
    folder: Path,
    job: TrainJob,
    *,
    tables: Sequence[pa.Table] = TABLES,
    evals: Mapping[str, Mapping[str, pa.Table]] = EVALS,
    **options: Any,
) -> Reports:
    """Trains a job on the toy tables; `options` are further arguments of `train_on_rank`."""
    reports = Reports(folder)
    arguments = {"fetch": partial(fetch_from_memory, tables), **options}
    eval_sets = EvalSet.of_tables(job.mixture.tasks, evals)
    train_on_rank(job, eval_sets=eval_sets, device=CPU, report=reports, **arguments)
    return reports


def run_toy(folder: Path, backbone: str, *, resume_from: Path | None = None, **changes: Any) -> Reports:
    """Trains the toy job with `changes`: 8 steps in rounds of 3."""
    return run(folder, make_job(backbone, SIZES, **changes), resume_from=resume_from)


def assert_same_weights(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert set(left) == set(right)
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def same(left: pa.Table, right: pa.Table) -> bool:
    """Equality with NaN equal to NaN."""
    return left.to_pandas().equals(right.to_pandas())
