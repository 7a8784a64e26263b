"""Classification and regression of a text or of a pair of texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.data.formats.assembly import Encodings, Frame, Piece, assemble, longest_first
from pipeline.data.formats.encoded import EncodedRows, Status, first_status, rows_table
from pipeline.data.formats.labels import Labels, read_labels
from pipeline.data.formats.source import Origin, read_column, read_texts
from pipeline.data.formats.tokens import Ints, Tokens, tokenize


@dataclass(frozen=True, kw_only=True)
class TextColumns:
    """What is read of a row.

    Attributes:
        texts: One, or two that are encoded as a pair: columns, or templates such as `{question} {answer}`.
        labels: Its label.
        question: Columns that say which rows answer one question and are measured together (MultiRC:
            `idx.paragraph`, `idx.question`); empty where every row counts for itself.
    """

    texts: tuple[str, ...]
    labels: Labels
    question: tuple[str, ...] = ()


def encode(
    table: pa.Table,
    columns: TextColumns,
    tokenizer: Tokenizer,
    max_seq_length: int,
    *,
    for_training: bool,
    origin: Origin,
) -> EncodedRows:
    """Encodes N rows, one encoding each; the longest of a row's texts is cut first.

    Args:
        table: Source rows.
        columns: What is read of them.
        tokenizer: Its truncation and padding are switched off.
        max_seq_length: Longest encoding in tokens, special ones included.
        for_training: Whether the references of the evaluation are left out.
        origin: How errors name the rows.

    Raises:
        ValueError: The rows lack what is read of them; one line that names row and mend.
    """
    labels, unlabelled = read_labels(table, columns.labels, origin)
    tokens = [tokenize(read_texts(table, spec, origin), tokenizer) for spec in columns.texts]
    encodings, truncated = encode_texts(tokens, Frame.of(tokenizer, len(tokens)), max_seq_length)
    references = None
    if columns.question and not for_training:
        keys = [read_column(table, name, origin).to_pylist() for name in columns.question]
        references = [json.dumps({"question": key}) for key in zip(*keys, strict=True)]
    return EncodedRows(
        rows_table(
            encodings, np.ones(len(labels), np.int64), marks=None, labels=labels, references=references
        ),
        first_status(
            (Status.UNLABELLED, unlabelled),
            (Status.EMPTY_TEXT, np.any([text.lengths == 0 for text in tokens], axis=0)),
        ),
        truncated,
    )


def encode_texts(
    tokens: Sequence[Tokens], frame: Frame, max_seq_length: int
) -> tuple[Encodings, NDArray[np.bool_]]:
    """One encoding for every text or pair, cut to `max_seq_length`; the longer text is cut first.

    Args:
        tokens: One or two, of N texts each.
        frame: Of as many texts.
        max_seq_length: Longest encoding in tokens.

    Returns:
        N encodings, and whether each was cut [N].
    """
    room = frame.room(max_seq_length)
    whole: list[Ints] = [text.lengths for text in tokens]
    kept = [np.minimum(whole[0], room)] if len(whole) == 1 else longest_first(whole[0], whole[1], room)
    pieces = [Piece(text, text.first, lengths) for text, lengths in zip(tokens, kept, strict=True)]
    return assemble(frame, pieces), np.any(np.stack(kept) < np.stack(whole), axis=0)
