"""Records of a run: what the ranks did in a few consecutive steps, stored as a chunk.

A chunk is a folder `records/<last step>/` in the run directory; it appears when it is complete. One process writes
chunks. MLflow's curves, the progress on the screen and the final tables are made from chunks alone, so nothing is
lost when the process that reads them ends.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

CHUNKS, SUMMARY = "records", "summary.json"


@dataclass
class Records:
    """What one rank did in the steps `first_step` to `last_step`.

    Attributes:
        resumed_at: step of the checkpoint from which this attempt resumed; 0 at the start.
        seconds: seconds of training, the mean over ranks: equal on all of them.
        rows: columns step, rank, task (id) and row_id, an entry for every row this rank trained on.
        mix: columns of `mix.parquet` over all ranks; rank 0 only.
        summary: totals over all ranks, rank 0 only (see `pipeline.training.record_buffer`).
        notes: events of these steps, for `pipeline.runs.events`.
    """

    resumed_at: int
    first_step: int
    last_step: int
    seconds: float
    rows: dict[str, NDArray[np.int64]] = field(repr=False)
    mix: dict[str, NDArray[Any]] | None = field(default=None, repr=False)
    summary: dict[str, Any] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()


def write_chunk(run_dir: str | Path, records: Sequence[Records], tasks: Sequence[str]) -> None:
    """Writes the records of all ranks (rank 0 first) as a chunk that replaces earlier chunks of its steps."""
    root, first = Path(run_dir) / CHUNKS, records[0]
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=root) as unfinished:  # an error frees its space
        _write_files(Path(unfinished), records, np.array(tasks))
        for chunk in list_chunks(run_dir):
            if int(chunk.name) > first.resumed_at and int(chunk.name) >= first.first_step:
                replaced = root / f".replaced-{chunk.name}"
                os.rename(chunk, replaced)
                shutil.rmtree(replaced)
        os.rename(unfinished, root / f"{first.last_step:09d}")


def _write_files(folder: Path, records: Sequence[Records], tasks: NDArray[np.str_]) -> None:
    first = records[0]
    assert first.mix is not None
    rows = {name: np.concatenate([part.rows[name] for part in records]) for name in first.rows}
    table = pa.table({**rows, "task": tasks[rows["task"]]})
    pq.write_table(table.sort_by([("step", "ascending"), ("rank", "ascending")]), folder / "rows.parquet")
    pq.write_table(pa.table({**first.mix, "task": tasks[first.mix["task"]]}), folder / "mix.parquet")
    steps = {"first_step": first.first_step, "last_step": first.last_step}
    (folder / SUMMARY).write_text(json.dumps({**steps, **(first.summary or {})}))


def list_chunks(run_dir: str | Path) -> list[Path]:
    """The folders of all chunks, in the order of steps."""
    return sorted(path for path in (Path(run_dir) / CHUNKS).glob("[0-9]*") if path.is_dir())


def last_step(run_dir: str | Path) -> int:
    """The last recorded step; 0 where there is none."""
    return max((int(chunk.name) for chunk in list_chunks(run_dir)), default=0)


def read_summary(chunk: Path) -> dict[str, Any]:
    """The summary of a chunk."""
    return json.loads((chunk / SUMMARY).read_text())


def merge_chunks(run_dir: str | Path, name: str) -> pa.Table:
    """Merges `mix.parquet` or `rows.parquet` of all chunks into one file in the run directory; returns the table."""
    table = pa.concat_tables([pq.read_table(chunk / name) for chunk in list_chunks(run_dir)])
    target = Path(run_dir) / name
    pq.write_table(table, target.with_suffix(".writing"))
    os.replace(target.with_suffix(".writing"), target)
    return table
