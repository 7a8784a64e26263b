"""What a run tells of itself, chunk by chunk: written by one process, whole or not at all.

After every few steps the ranks hand over what they did since the last time. A chunk becomes a folder
`records/<last step>/` in the run directory. MLflow, the progress on the screen and the final tables are
made from these folders alone, so nothing is lost when the process that reads them ends.
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
        resumed_at: step of the checkpoint that this attempt of the run went on from; 0 at the start.
        seconds: of training, the mean over ranks: the same on all of them.
        rows: step, rank, task id and row id of every row this rank trained on.
        mix: columns of `mix.parquet`, rank 0 only: what all ranks did.
        summary: numbers over all ranks, rank 0 only (see `pipeline.training.record_buffer`).
        notes: what happened in these steps, for `pipeline.runs.events`.
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
    """Write a chunk under its name when it is complete; chunks that a resumed run replays are replaced."""
    root = Path(run_dir) / CHUNKS
    root.mkdir(parents=True, exist_ok=True)
    first = records[0]
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=root))
    try:
        _write(temporary, records, tasks)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)  # a full disk is not to stay fuller
        raise
    for chunk in list_chunks(run_dir):
        if int(chunk.name) > first.resumed_at and int(chunk.name) >= first.first_step:
            replaced = root / f".replaced-{chunk.name}"
            os.rename(chunk, replaced)
            shutil.rmtree(replaced)
    os.rename(temporary, root / f"{first.last_step:09d}")


def _write(folder: Path, records: Sequence[Records], tasks: Sequence[str]) -> None:
    first = records[0]
    columns = {name: np.concatenate([part.rows[name] for part in records]) for name in first.rows}
    rows = pa.table({**columns, "task": _names(columns["task"], tasks)})
    pq.write_table(rows.sort_by([("step", "ascending"), ("rank", "ascending")]), folder / "rows.parquet")
    assert first.mix is not None
    pq.write_table(pa.table({**first.mix, "task": _names(first.mix["task"], tasks)}), folder / "mix.parquet")
    span = {"first_step": first.first_step, "last_step": first.last_step}
    (folder / SUMMARY).write_text(json.dumps({**span, **(first.summary or {})}))


def list_chunks(run_dir: str | Path) -> list[Path]:
    """Complete chunks, in order of steps."""
    return sorted(path for path in (Path(run_dir) / CHUNKS).glob("[0-9]*") if path.is_dir())


def last_step(run_dir: str | Path) -> int:
    """The last step that is recorded; 0 where there is none."""
    return max((int(chunk.name) for chunk in list_chunks(run_dir)), default=0)


def read_summary(chunk: Path) -> dict[str, Any]:
    """The summary of a chunk."""
    summary: dict[str, Any] = json.loads((chunk / SUMMARY).read_text())
    return summary


def merge_chunks(run_dir: str | Path, name: str) -> pa.Table:
    """All chunks' `name` (`mix.parquet` or `rows.parquet`) as one file in the run directory."""
    table = pa.concat_tables([pq.read_table(chunk / name) for chunk in list_chunks(run_dir)])
    target = Path(run_dir) / name
    pq.write_table(table, target.with_suffix(".writing"))
    os.replace(target.with_suffix(".writing"), target)
    return table


def _names(ids: NDArray[np.int64], tasks: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(ids.astype(np.int32)), pa.array(list(tasks))).cast(
        pa.string()
    )
