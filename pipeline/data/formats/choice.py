"""Multiple choice: one encoding for each choice of a row, of which one is right.

`ChoiceColumns` are rows with their choices in columns of their own (COPA) or in a list; `ClozeColumns`
are passages with a query in which a placeholder stands for one of several entities (ReCoRD).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.data.formats.assembly import Frame
from pipeline.data.formats.encoded import EncodedRows, Status, first_status, rows_table
from pipeline.data.formats.labels import UNLABELLED, Labels, read_labels
from pipeline.data.formats.source import Origin, read_column, read_text_lists, read_texts, require_text
from pipeline.data.formats.text import encode_texts
from pipeline.data.formats.tokens import Ints, tokenize


@dataclass(frozen=True, kw_only=True)
class ChoiceColumns:
    """What is read of a row.

    Attributes:
        text: What every choice is paired with: a column, or a template such as `{premise} {question}`.
        choices: Columns or templates of the choices; a single column of lists gives each row its own.
        label: Column of the number of the right choice.
    """

    text: str
    choices: tuple[str, ...]
    label: str = "label"


@dataclass(frozen=True, kw_only=True)
class ClozeColumns:
    """What is read of a row.

    Attributes:
        passage: Column of what is to be read.
        query: Column of a sentence with a placeholder.
        choices: Column of lists of what may stand in its place.
        answers: Column of lists of the right ones.
        placeholder: How it is written.
    """

    passage: str = "passage"
    query: str = "query"
    choices: str = "entities"
    answers: str = "answers"
    placeholder: str = "@placeholder"


def encode(
    table: pa.Table,
    columns: ChoiceColumns | ClozeColumns,
    tokenizer: Tokenizer,
    max_seq_length: int,
    *,
    for_training: bool,
    origin: Origin,
) -> EncodedRows:
    """Encodes N rows, one encoding for each choice of a row.

    Of a cloze with several right choices the first is the label, and the other right ones are left out
    in training, where they would count as wrong. A row without any choice has one that is empty.
    Arguments and errors as in `pipeline.data.formats.text.encode`; also ValueError for a query without placeholder.
    """
    if isinstance(columns, ClozeColumns):
        rows = _read_cloze(table, columns, for_training, origin)
    else:
        rows = _read_choices(table, columns, origin)
    row = np.repeat(np.arange(len(rows.counts)), rows.counts)
    tokens = [tokenize(rows.texts, tokenizer).take(row), tokenize(rows.choices, tokenizer)]
    encodings, cut = encode_texts(tokens, Frame.of(tokenizer, 2), max_seq_length)
    empty = (tokens[0].lengths == 0) | (tokens[1].lengths == 0)
    return EncodedRows(
        rows_table(
            encodings,
            rows.counts,
            marks=None,
            labels=rows.labels.astype(np.float32),
            references=None if for_training else rows.references,
        ),
        first_status(
            *((status, rows.status == status) for status in Status if not status.trained),
            (Status.EMPTY_TEXT, np.bincount(row[empty], minlength=len(rows.counts)) > 0),
        ),
        np.bincount(row[cut], minlength=len(rows.counts)) > 0,
    )


@dataclass(frozen=True)
class _Rows:
    """N rows with E choices.

    Attributes:
        texts: [N] what every choice of a row is paired with.
        choices: [E], row by row.
        counts: [N] choices of each row, one or more.
        labels: [N] number of the right choice, -1 where there is none.
        status: [N] why a row must not be trained on, or `KEPT`.
        references: [N] JSON.
    """

    texts: pa.Array
    choices: pa.Array
    counts: Ints
    labels: Ints
    status: NDArray[np.int8]
    references: list[str]


def _read_choices(table: pa.Table, columns: ChoiceColumns, origin: Origin) -> _Rows:
    if len(columns.choices) == 1:
        lists = read_text_lists(table, columns.choices[0], origin)
        own = pc.list_value_length(lists).to_numpy().astype(np.int64)
        filled = pc.if_else(pa.array(own == 0), pa.scalar([""], lists.type), lists)
        choices = filled.flatten()
    else:
        own = np.full(table.num_rows, len(columns.choices), np.int64)
        texts = pa.concat_arrays([read_texts(table, spec, origin) for spec in columns.choices])
        choices = texts.take(pa.array(np.arange(len(texts)).reshape(len(columns.choices), -1).T.ravel()))
    values, _ = read_labels(table, Labels(column=columns.label), origin)
    labels = np.where(own == 0, UNLABELLED, values).astype(np.int64)
    wrong = (values != np.floor(values)) | (values < UNLABELLED) | (labels >= own)
    if wrong.any():
        index = int(np.argmax(wrong))
        origin.fail(
            index,
            f"has label {values[index]:g}, but the numbers of its {own[index]} choices are 0 to "
            f"{own[index] - 1}: correct it, or give -1 where there is no label",
        )
    return _Rows(
        read_texts(table, columns.text, origin),
        choices,
        np.maximum(own, 1),
        labels,
        first_status((Status.ANSWER_NOT_FOUND, own == 0), (Status.UNLABELLED, labels == UNLABELLED)),
        [json.dumps({"label": label}) for label in labels.tolist()],
    )


def _read_cloze(table: pa.Table, columns: ClozeColumns, for_training: bool, origin: Origin) -> _Rows:
    queries = require_text(read_column(table, columns.query, origin), columns.query, origin).to_pylist()
    entities = read_text_lists(table, columns.choices, origin).to_pylist()
    answers = read_text_lists(table, columns.answers, origin, may_lack=True).to_pylist()
    filled: list[str] = []
    counts, labels, references = [], [], []
    for index, (query, given, gold) in enumerate(zip(queries, entities, answers, strict=True)):
        if columns.placeholder not in query:
            origin.fail(
                index, f"has no {columns.placeholder!r} in its {columns.query!r}: correct or remove it"
            )
        choices = list(dict.fromkeys(given)) or [""]
        right = right_choices(choices, gold)
        if for_training:
            choices = [choice for number, choice in enumerate(choices) if number not in right[1:]]
        filled += [query.replace(columns.placeholder, choice) for choice in choices]
        counts.append(len(choices))
        labels.append(right[0] if right else UNLABELLED)
        reference = {"answers": gold, "choices": choices, "query": query}
        references.append(json.dumps(reference, ensure_ascii=False))
    found = np.array(labels, np.int64)
    return _Rows(
        read_texts(table, columns.passage, origin),
        pa.array(filled, pa.string()),
        np.array(counts, np.int64),
        found,
        first_status(
            (Status.MISSING_ANSWER, np.array([not gold for gold in answers], np.bool_)),
            (Status.ANSWER_NOT_FOUND, found == UNLABELLED),
        ),
        references,
    )


def right_choices(choices: Sequence[str], answers: Sequence[str]) -> list[int]:
    """Numbers of the choices that are an answer; if none is spelt like one, of those that differ in case."""
    for fold in (str, str.casefold):
        wanted = set(map(fold, answers))
        right = [number for number, choice in enumerate(choices) if fold(choice) in wanted]
        if right:
            return right
    return []
