"""What Ray Data's tasks do to prepare splits: read and encode a block, write a part.

The order of a split is known before anything is read, so every block knows in which part, and where in
it, each of its rows belongs; the shuffle between the two stages only carries rows to their part.

Mistakes in the data travel as rows of part `PROBLEM`. An exception would arrive wrapped in Ray's own,
without its text, and of several mistakes whichever came first would be told.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.data.formats import Columns, Origin, Status, encode_rows, id_hashes
from pipeline.data.formats.text import TextColumns
from pipeline.data.preparation.schema import ROW_GROUP_ROWS, SCHEMA
from pipeline.data.sources.base import Block
from pipeline.data.tokenization import load_tokenizer
from pipeline.errors import first_line

PART_ROWS = 64 * ROW_GROUP_ROWS  # whole row groups, which are the blocks of the plan's order
PROBLEM = -1

# What the first stage hands to the second: token rows with their address, or a problem.
STAGED = pa.schema(
    [
        ("part", pa.int64()),
        ("position", pa.int64()),
        ("problem", pa.string()),
        *SCHEMA,
        ("status", pa.int8()),  # `pipeline.data.formats.Status`
        ("truncated", pa.bool_()),
        ("id", pa.uint64()),  # of `pipeline.data.formats.id_hashes`
    ]
)


@dataclass(frozen=True)
class SplitPlan:
    """One split on its way.

    Attributes:
        task: Name of the task.
        name: Name of the split.
        columns: What is read of its rows.
        max_seq_length: Longest encoding in tokens.
        id_column: What is an id of a row, see `Task`.
        num_labels: Classes whose rows are counted; None where labels are no classes.
        for_training: Rows that cannot be trained on are left out, and references for metrics.
        source_rows: Rows that the source has.
        kept_rows: Rows that are kept: the first of the split's order.
        first_part: Number of its first part among the parts of all splits of one execution.
        directory: Folder of its part files.
    """

    task: str
    name: str
    columns: Columns
    max_seq_length: int
    id_column: str | None
    num_labels: int | None
    for_training: bool
    source_rows: int
    kept_rows: int
    first_part: int
    directory: str

    def parts(self) -> dict[str, int]:
        """{file: rows}, in order."""
        sizes = [min(PART_ROWS, self.kept_rows - start) for start in range(0, self.kept_rows, PART_ROWS)]
        return {f"part-{index:05d}.parquet": rows for index, rows in enumerate(sizes)}

    def positions(self, block: Block) -> NDArray[np.int64]:
        """Place in the split's order of each of the block's rows.

        Rows that are measured together lie together in their source: for an evaluation they stay in its order, so
        that a limit keeps whole questions (but for the last one), not a row here and there.
        """
        if not self.for_training and isinstance(self.columns, TextColumns) and self.columns.question:
            return np.arange(block.first_row, block.first_row + block.rows)
        order = _positions(f"{self.task}/{self.name}", self.source_rows)
        return order[block.first_row : block.first_row + block.rows]


@lru_cache(maxsize=8)
def _positions(key: str, rows: int) -> NDArray[np.int64]:
    """A shuffle of nothing but the split's name and size, so that runs of all seeds share prepared data."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return np.random.Generator(np.random.PCG64(seed)).permutation(rows)


@dataclass(frozen=True)
class Job:
    """One block of a split to be encoded; `number` counts the jobs of an execution."""

    number: int
    split: SplitPlan
    block: Block


def encode_block(jobs: pa.Table, *, text: str) -> pa.Table:
    """First stage: a block's kept rows as tokens, each with its part and its position in the split's order.

    Args:
        jobs: One row, whose `job` is a pickled `Job`.
        text: The tokenizer, from `tokenizer_json`.

    Returns:
        Rows of `STAGED`; a single one of part `PROBLEM` where the block cannot be used.
    """
    # Ray runs a process per CPU; a thread pool in each would only make them wait for each other.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    [pickled] = jobs["job"].to_pylist()
    job: Job = pickle.loads(pickled)
    split, block = job.split, job.block
    try:
        table = block.read()
        if table.num_rows != block.rows:
            raise ValueError(f"{block.origin} changed while it was read: prepare again")
        positions = split.positions(block)
        kept = np.flatnonzero(positions < split.kept_rows)
        row_ids = block.first_row + kept
        origin = Origin(split.task, block.origin, row_ids.tolist())
        table = table.take(kept)
        ids = id_hashes(table, split.id_column, origin)
        encoded = encode_rows(
            table,
            split.columns,
            load_tokenizer(text),
            split.max_seq_length,
            for_training=split.for_training,
            origin=origin,
        )
    except (ValueError, OSError) as error:
        problem = {"part": PROBLEM, "position": job.number, "problem": first_line(error)}
        return pa.Table.from_pylist([problem], schema=STAGED)
    columns = {
        "part": split.first_part + positions[kept] // PART_ROWS,
        "position": positions[kept],
        "problem": pa.nulls(len(kept), pa.string()),
        "row_id": row_ids,
        **{name: encoded.table[name] for name in encoded.table.column_names},
        "status": encoded.status,
        "truncated": encoded.truncated,
        "id": ids,
    }
    return pa.table(columns, schema=STAGED)


def write_part(staged: pa.Table, *, plans: Sequence[SplitPlan]) -> pa.Table:
    """Second stage: writes the rows of one part in order. The file has its name only once it is whole.

    Args:
        staged: All rows of one part, in any order.
        plans: All splits of the execution, by first part.

    Returns:
        One row: `part`; `result`, the JSON of what the manifest tells of a file, or of {"problem": ...}; and `ids`,
        the bytes of the rows' hashed ids: which of them occur twice shows only when all parts are there.
    """
    part = staged["part"][0].as_py()
    staged = staged.sort_by("position").combine_chunks()
    if part == PROBLEM:
        return _result(part, {"problem": staged["problem"][0].as_py()})
    plan = next(plan for plan in reversed(plans) if plan.first_part <= part)
    path = os.path.join(plan.directory, list(plan.parts())[part - plan.first_part])
    status = staged["status"].to_numpy()
    ids = staged["id"].drop_null().to_numpy()
    if plan.for_training:
        staged = staged.filter(pa.array(status <= Status.EMPTY_TEXT))
    table = staged.select(SCHEMA.names).cast(SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=ROW_GROUP_ROWS, compression="zstd", write_page_checksum=True)
    content = sink.getvalue()
    try:
        # Ray may run a task twice; each writes a file of its own, and the same bytes.
        unfinished = f"{path}.{uuid.uuid4().hex}"
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        problem = (
            f"{path} cannot be written ({error.strerror}): make room, or use a folder that all nodes reach"
        )
        return _result(part, {"problem": problem})
    result = {
        "rows": table.num_rows,
        "source_rows": len(status),
        "report": {kind.name.lower(): int((status == kind).sum()) for kind in Status if kind},
        "sha256": hashlib.sha256(content).hexdigest(),
        "tokens": pc.sum(pc.list_value_length(table["input_ids"]), min_count=0).as_py(),
        "truncated": pc.sum(staged["truncated"], min_count=0).as_py(),
    }
    if plan.num_labels is not None:
        classes = table["label"].to_numpy().astype(np.int64)
        counts = np.bincount(classes[classes >= 0], minlength=plan.num_labels)
        result["label_counts"] = counts.tolist()
    return _result(part, result, ids.tobytes())


def _result(part: int, result: dict[str, Any], ids: bytes = b"") -> pa.Table:
    return pa.table({"part": [part], "result": [json.dumps(result)], "ids": [ids]})
