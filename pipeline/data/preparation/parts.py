"""The two stages of preparing splits, as functions that Ray tasks run: encode a block, write a part.

A split's order is fixed before anything is read. Every block therefore knows the part and the position of each of
its rows, and the shuffle between the stages only moves rows to their part.

Faults in the data are returned as rows of part `PROBLEM`: Ray would drop the text of an exception, and report
an arbitrary one of several.
"""

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

PART_ROWS = 64 * ROW_GROUP_ROWS
PROBLEM = -1

# Rows between the stages: encoded rows with their destination, or a problem.
STAGED = pa.schema(
    [
        ("part", pa.int64()),
        ("position", pa.int64()),
        ("problem", pa.string()),
        *SCHEMA,
        ("status", pa.int8()),  # `pipeline.data.formats.Status`
        ("truncated", pa.bool_()),
        ("id", pa.uint64()),  # from `pipeline.data.formats.id_hashes`
    ]
)


@dataclass(frozen=True)
class SplitSpec:
    """A split to prepare, named `name`.

    Attributes:
        id_column: Column of the row ids, see `Task`.
        num_labels: Number of classes, to count their rows; None where labels are no classes.
        for_training: Leaves out references for metrics and rows that cannot be trained on.
        kept_rows: Rows to keep: the first of the split's order.
        first_part: Number of its first part among the parts of all splits of an execution.
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
        """Returns {file: rows}, in order."""
        sizes = [min(PART_ROWS, self.kept_rows - start) for start in range(0, self.kept_rows, PART_ROWS)]
        return {f"part-{index:05d}.parquet": rows for index, rows in enumerate(sizes)}

    def positions(self, block: Block) -> NDArray[np.int64]:
        """Returns the positions of the block's rows in the split's order.

        An evaluation split whose rows are measured by question keeps the order of its source, where a question's
        rows are adjacent: a limit then cuts at most one question.
        """
        rows = slice(block.first_row, block.first_row + block.rows)
        if not self.for_training and isinstance(self.columns, TextColumns) and self.columns.question:
            return np.arange(rows.start, rows.stop)
        return _shuffled_positions(f"{self.task}/{self.name}", self.source_rows)[rows]


@lru_cache(maxsize=8)
def _shuffled_positions(key: str, rows: int) -> NDArray[np.int64]:
    """Shuffles by the split's name and size alone, so that runs of all seeds share prepared data."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return np.random.Generator(np.random.PCG64(seed)).permutation(rows)


@dataclass(frozen=True)
class EncodeTask:
    """A block of a split to encode; `number` is its index in the execution."""

    number: int
    split: SplitSpec
    block: Block


def encode_block(tasks: pa.Table, *, tokenizer: str) -> pa.Table:
    """First stage: encodes a block's kept rows and gives each its part and its position in the split's order.

    Args:
        tasks: One row, whose `task` is a pickled `EncodeTask`.
        tokenizer: JSON from `tokenizer_json`.

    Returns:
        Rows of `STAGED`; a single one of part `PROBLEM` where the block cannot be used.
    """
    # Ray runs a process per CPU, so threads in each would only compete.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    task: EncodeTask = pickle.loads(tasks["task"][0].as_py())
    split, block = task.split, task.block
    try:
        table = block.read()
        if table.num_rows != block.rows:
            raise ValueError(f"{block.origin} changed while it was read: prepare again")
        positions = split.positions(block)
        kept = np.flatnonzero(positions < split.kept_rows)
        table, positions, row_ids = table.take(kept), positions[kept], block.first_row + kept
        origin = Origin(split.task, block.origin, row_ids.tolist())
        ids = id_hashes(table, split.id_column, origin)
        encoded = encode_rows(
            table,
            split.columns,
            load_tokenizer(tokenizer),
            split.max_seq_length,
            for_training=split.for_training,
            origin=origin,
        )
    except (ValueError, OSError) as error:
        problem = {"part": PROBLEM, "position": task.number, "problem": first_line(error)}
        return pa.Table.from_pylist([problem], schema=STAGED)
    staged = {
        "part": split.first_part + positions // PART_ROWS,
        "position": positions,
        "problem": pa.nulls(len(kept), pa.string()),
        "row_id": row_ids,
        **{name: encoded.table[name] for name in encoded.table.column_names},
        "status": encoded.status,
        "truncated": encoded.truncated,
        "id": ids,
    }
    return pa.table(staged, schema=STAGED)


def write_part(staged: pa.Table, *, splits: Sequence[SplitSpec]) -> pa.Table:
    """Second stage: writes the rows of a part in order.

    Args:
        staged: All rows of one part, in any order.
        splits: All splits of the execution, by first part.

    Returns:
        One row: `part`; `result`, JSON of the file's entry in the manifest or of {"problem": ...}; and `ids`,
        the bytes of the rows' hashed ids, whose duplicates are counted over all parts.
    """
    part = staged["part"][0].as_py()
    staged = staged.sort_by("position").combine_chunks()
    if part == PROBLEM:
        return _result(part, {"problem": staged["problem"][0].as_py()})
    split = next(split for split in reversed(splits) if split.first_part <= part)
    path = os.path.join(split.directory, list(split.parts())[part - split.first_part])
    status = staged["status"].to_numpy()
    ids = staged["id"].drop_null().to_numpy()
    if split.for_training:
        staged = staged.filter(pa.array(status <= Status.EMPTY_TEXT))
    table = staged.select(SCHEMA.names).cast(SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=ROW_GROUP_ROWS, compression="zstd", write_page_checksum=True)
    content = sink.getvalue()
    try:
        # Ray may run a task twice: each run writes the same bytes to a file of its own, and renames it when complete.
        unfinished = f"{path}.{uuid.uuid4().hex}"
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        problem = f"{path} cannot be written ({error.strerror}): make room, or use a shared folder"
        return _result(part, {"problem": problem})
    result = {
        "rows": table.num_rows,
        "source_rows": len(status),
        "report": {kind.name.lower(): int((status == kind).sum()) for kind in Status if kind},
        "sha256": hashlib.sha256(content).hexdigest(),
        "tokens": pc.sum(pc.list_value_length(table["input_ids"]), min_count=0).as_py(),
        "truncated": pc.sum(staged["truncated"], min_count=0).as_py(),
    }
    if split.num_labels is not None:
        classes = table["label"].to_numpy().astype(np.int64)
        result["label_counts"] = np.bincount(classes[classes >= 0], minlength=split.num_labels).tolist()
    return _result(part, result, ids.tobytes())


def _result(part: int, result: dict[str, Any], ids: bytes = b"") -> pa.Table:
    return pa.table({"part": [part], "result": [json.dumps(result)], "ids": [ids]})
