"""Multiple choice: one encoding for each choice of a row, of which one is right.

`ChoiceColumns` are rows whose choices are columns (COPA) or a list; `ClozeColumns` are passages with a
query in which a placeholder stands for one of several entities (ReCoRD).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from pipeline.data.formats.encoding import Ints, encode_texts, tokenize
from pipeline.data.formats.labels import UNLABELLED, Labels, read_labels
from pipeline.data.formats.output import EncodedRows, Status, Statuses
from pipeline.data.formats.reading import SourceRows


@dataclass(frozen=True, kw_only=True)
class ChoiceColumns:
    """Columns of a row.

    Attributes:
        text: Paired with every choice: a column, or a template such as `{premise} {question}`.
        choices: Columns or templates of the choices; a single column of lists gives each row its own.
        label: Column of the number of the right choice.
    """

    text: str
    choices: tuple[str, ...]
    label: str = "label"


@dataclass(frozen=True, kw_only=True)
class ClozeColumns:
    """Columns of a row.

    Attributes:
        passage: Column of the text to be read.
        query: Column of a sentence with a placeholder.
        choices: Column of lists of entities that may replace it.
        answers: Column of lists of the right ones.
        placeholder: Its spelling.
    """

    passage: str = "passage"
    query: str = "query"
    choices: str = "entities"
    answers: str = "answers"
    placeholder: str = "@placeholder"


@dataclass(frozen=True)
class _Choices:
    """The choices of N rows, E in all.

    Attributes:
        texts: [E], row by row.
        counts: [N] number of choices of each row, 1 or more.
        labels: [N] number of the right choice, -1 where there is none.
        statuses: Why rows must not be trained on.
        references: [N] JSON.
    """

    texts: pa.Array
    counts: Ints
    labels: Ints
    statuses: Statuses
    references: list[str]


def encode(
    rows: SourceRows,
    columns: ChoiceColumns | ClozeColumns,
    tokenizer: Tokenizer,
    max_seq_length: int,
    *,
    for_training: bool,
) -> EncodedRows:
    """Encodes N rows, one encoding for each choice of a row.

    The label of a cloze with several right choices is the first of them; training leaves the others out,
    as they would count as wrong. A row without choices has one empty choice.
    """
    if isinstance(columns, ClozeColumns):
        choices, text = _read_cloze(rows, columns, for_training), columns.passage
    else:
        choices, text = _read_choices(rows, columns), columns.text
    row = np.repeat(np.arange(len(rows)), choices.counts)
    tokens = [tokenize(rows.texts(text), tokenizer).take(row), tokenize(choices.texts, tokenizer)]
    encodings, cut = encode_texts(tokens, tokenizer, max_seq_length)
    empty = (tokens[0].lengths == 0) | (tokens[1].lengths == 0)
    return EncodedRows.of(
        encodings,
        [*choices.statuses, (Status.EMPTY_TEXT, np.isin(np.arange(len(rows)), row[empty]))],
        np.isin(np.arange(len(rows)), row[cut]),
        per_row=choices.counts,
        labels=choices.labels.astype(np.float32),
        references=None if for_training else choices.references,
    )


def _read_choices(rows: SourceRows, columns: ChoiceColumns) -> _Choices:
    if len(columns.choices) == 1:
        lists = rows.text_lists(columns.choices[0])
        counts = pc.list_value_length(lists).to_numpy().astype(np.int64)
        texts = pc.if_else(pa.array(counts == 0), pa.scalar([""], lists.type), lists).flatten()
    else:
        counts = np.full(len(rows), len(columns.choices), np.int64)
        order = np.arange(counts.sum()).reshape(len(columns.choices), -1).T.ravel()
        texts = pa.concat_arrays([rows.texts(spec) for spec in columns.choices]).take(pa.array(order))
    values, _ = read_labels(rows, Labels(column=columns.label))
    labels = np.where(counts == 0, UNLABELLED, values).astype(np.int64)
    wrong = (values != np.floor(values)) | (values < UNLABELLED) | (labels >= counts)
    if wrong.any():
        index = int(np.argmax(wrong))
        rows.origin.fail(
            index,
            f"has label {values[index]:g}, but the numbers of its {counts[index]} choices are 0 to "
            f"{counts[index] - 1}: correct it, or use -1 where there is no label",
        )
    statuses = [(Status.ANSWER_NOT_FOUND, counts == 0), (Status.UNLABELLED, labels == UNLABELLED)]
    references = [json.dumps({"label": label}) for label in labels.tolist()]
    return _Choices(texts, np.maximum(counts, 1), labels, statuses, references)


def _read_cloze(rows: SourceRows, columns: ClozeColumns, for_training: bool) -> _Choices:
    queries = rows.texts(columns.query).to_pylist()
    entities = rows.text_lists(columns.choices).to_pylist()
    answers = rows.text_lists(columns.answers, may_lack=True).to_pylist()
    texts: list[str] = []
    counts, right_numbers, references = [], [], []
    for index, (query, names, gold) in enumerate(zip(queries, entities, answers, strict=True)):
        if columns.placeholder not in query:
            problem = f"has no {columns.placeholder!r} in its {columns.query!r}: correct or remove it"
            rows.origin.fail(index, problem)
        choices = list(dict.fromkeys(names)) or [""]
        right = right_choices(choices, gold)
        if for_training:
            choices = [choice for number, choice in enumerate(choices) if number not in right[1:]]
        texts += [query.replace(columns.placeholder, choice) for choice in choices]
        counts.append(len(choices))
        right_numbers.append(right[0] if right else UNLABELLED)
        reference = {"answers": gold, "choices": choices, "query": query}
        references.append(json.dumps(reference, ensure_ascii=False))
    labels = np.array(right_numbers, np.int64)
    statuses = [
        (Status.MISSING_ANSWER, np.array([not gold for gold in answers], np.bool_)),
        (Status.ANSWER_NOT_FOUND, labels == UNLABELLED),
    ]
    return _Choices(pa.array(texts, pa.string()), np.array(counts, np.int64), labels, statuses, references)


def right_choices(choices: Sequence[str], answers: Sequence[str]) -> list[int]:
    """Numbers of the choices that equal an answer; if none does, of those that differ only in case."""
    for fold in (str, str.casefold):
        folded = set(map(fold, answers))
        right = [number for number, choice in enumerate(choices) if fold(choice) in folded]
        if right:
            return right
    return []
