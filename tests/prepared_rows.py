"""Builds prepared rows for tests and benchmarks."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.preparation.schema import SCHEMA


def single_encodings(
    row_id: object, input_ids: pa.Array, token_type_ids: pa.Array, label: object
) -> pa.Table:
    """Returns N rows of `SCHEMA` with one encoding each, without marks or references."""
    lengths = pc.list_value_length(input_ids)
    rows = len(lengths)
    columns = {
        "row_id": row_id,
        "input_ids": input_ids,
        "token_type_ids": token_type_ids,
        "encoding_lengths": pa.ListArray.from_arrays(pa.array(np.arange(rows + 1), pa.int32()), lengths),
        "token_marks": pa.array([[]] * rows, pa.list_(pa.int16())),
        "label": label,
        "reference": pa.nulls(rows, pa.string()),
    }
    return pa.table(columns, schema=SCHEMA)
