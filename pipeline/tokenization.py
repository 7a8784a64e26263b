"""What prepared rows look like, and the tokenizer that makes them.

The tokenizer travels as the JSON text of its fast backend: reading processes need neither its files, nor
the Hub, nor the seconds that importing `transformers` takes. The text also identifies a tokenizer.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from pipeline.errors import first_line

# One row of a prepared file: an example of a task, as one encoding or several (windows of a passage, choices).
SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),  # index in the source split
        ("input_ids", pa.list_(pa.int32())),  # of all its encodings, one after another
        ("token_type_ids", pa.list_(pa.int8())),
        ("encoding_lengths", pa.list_(pa.int32())),  # tokens of each encoding
        ("token_marks", pa.list_(pa.int16())),  # `camtl.TokenRows.token_marks`, or none for all tokens
        ("label", pa.float32()),  # class number, value of a regression or number of the right choice
        (
            "reference",
            pa.string(),
        ),  # of evaluation rows: JSON of what decoding and metrics need beside the label
    ]
)


def single_encodings(
    row_id: object, input_ids: pa.Array, token_type_ids: pa.Array, label: object
) -> pa.Table:
    """Prepared rows of one encoding each, without marks or references; N rows of `SCHEMA`."""
    lengths = pc.list_value_length(input_ids)
    rows = len(lengths)
    columns = {
        "row_id": row_id,
        "input_ids": input_ids,
        "token_type_ids": token_type_ids,
        "encoding_lengths": pa.ListArray.from_arrays(pa.array(np.arange(rows + 1), pa.int32()), lengths),
        "token_marks": pa.ListArray.from_arrays(
            pa.array(np.zeros(rows + 1), pa.int32()), pa.array([], pa.int16())
        ),
        "label": label,
        "reference": pa.nulls(rows, pa.string()),
    }
    return pa.table(columns, schema=SCHEMA)


def tokenizer_json(name: str) -> str:
    """The fast tokenizer's backend as JSON, free of any state of padding and truncation.

    Args:
        name: Hub id, or a folder with a tokenizer.

    Raises:
        ValueError: There is no tokenizer, or none with a fast backend.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"tokenizer {name!r} cannot be loaded ({first_line(error)}): give a Hub id or its folder"
        ) from error
    if not tokenizer.is_fast:
        raise ValueError(f"tokenizer {name!r} has no fast version: choose a backbone with a tokenizer.json")
    # A copy: the state of padding and truncation belongs to whoever else uses this tokenizer.
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_padding()
    backend.no_truncation()
    text: str = backend.to_str()
    return text


def tokenizer_fingerprint(text: str) -> str:
    """Identifies a tokenizer by all that its backend does, wherever its files lie."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_max_seq_length(text: str, max_seq_length: int, texts: int) -> None:
    """Raises ValueError where rows of `texts` texts would have no room for a token of each."""
    needed = backend(text).num_special_tokens_to_add(texts == 2) + texts
    if max_seq_length < needed:
        raise ValueError(
            f"max_seq_length {max_seq_length} is too short for {texts} text(s) a row: use {needed} or more"
        )


@functools.lru_cache(maxsize=2)
def backend(text: str) -> Tokenizer:
    """The tokenizer of `tokenizer_json`'s text, made once per process."""
    return Tokenizer.from_str(text)
