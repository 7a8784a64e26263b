"""Classification and regression of a text or of a pair of texts."""

import json
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from pipeline.data.formats.encoding import encode_texts, tokenize
from pipeline.data.formats.labels import Labels, read_labels
from pipeline.data.formats.output import EncodedRows, Status
from pipeline.data.formats.reading import SourceRows


@dataclass(frozen=True, kw_only=True)
class TextColumns:
    """Columns of a row.

    Attributes:
        texts: One, or two that are encoded as a pair: columns, or templates such as `{question} {answer}`.
        labels: Its label.
        question: Columns whose values identify the rows of one question, which are measured together
            (MultiRC: `idx.paragraph`, `idx.question`); empty where each row counts by itself.
    """

    texts: tuple[str, ...]
    labels: Labels
    question: tuple[str, ...] = ()


def encode(
    rows: SourceRows, columns: TextColumns, tokenizer: Tokenizer, max_seq_length: int, *, for_training: bool
) -> EncodedRows:
    """Encodes N rows, one encoding each; the longest of a row's texts is cut first."""
    labels, unlabelled = read_labels(rows, columns.labels)
    tokens = [tokenize(rows.texts(spec), tokenizer) for spec in columns.texts]
    encodings, truncated = encode_texts(tokens, tokenizer, max_seq_length)
    references = None
    if columns.question and not for_training:
        keys = [rows.column(name).to_pylist() for name in columns.question]
        references = [json.dumps({"question": key}) for key in zip(*keys, strict=True)]
    empty = np.any([text.lengths == 0 for text in tokens], axis=0)
    statuses = [(Status.UNLABELLED, unlabelled), (Status.EMPTY_TEXT, empty)]
    return EncodedRows.of(encodings, statuses, truncated, labels=labels, references=references)
