"""Extractive questions: where in the context the answer begins and ends, over windows of the context."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.data.formats.answers import Place, given_answers, read_places
from pipeline.data.formats.assembly import Encodings, Frame, Piece, assemble
from pipeline.data.formats.encoded import EncodedRows, Status, first_status, rows_table
from pipeline.data.formats.source import Origin, read_texts
from pipeline.data.formats.tokens import Ints, Tokens, tokenize
from pipeline.data.formats.windows import cut_windows, first_inside, keep_windows

FORBIDDEN = -100  # the mark of a token at which no answer may begin or end
BEGINS, ENDS = 1, 2  # added to 0, the mark of a token at which one may
NO_ANSWER = BEGINS + ENDS  # at the first token of a window that holds no answer


@dataclass(frozen=True, kw_only=True)
class SpanColumns:
    """What is read of a row, and how its context is cut.

    Attributes:
        question: Column or template.
        context: Column or template.
        answers: Column of the gold answers: texts, lists of texts, or SQuAD's structs `{text, answer_start}`.
        detected: Column of MRQA's detected answers `{text, char_spans}`, whose ends are inclusive. Where
            no column tells the places, the context is searched for the answers' text.
        unanswerable: Whether a row that tells of no answer, by an empty text or list, has none (SQuAD 2): it is trained
            on with every window pointing at its first token. Otherwise its answer is missing.
        stride: Tokens of the context that neighbouring windows share; at most half a window.
        max_question_tokens: Tokens of a question that are kept, at most half of an encoding.
        max_train_windows: Windows of a row that are trained on: those with the answer first, then in
            order. In evaluation there is no limit.
    """

    question: str = "question"
    context: str = "context"
    answers: str = "answers"
    detected: str | None = None
    unanswerable: bool = False
    stride: int = 128
    max_question_tokens: int = 64
    max_train_windows: int = 8


def encode(
    table: pa.Table,
    columns: SpanColumns,
    tokenizer: Tokenizer,
    max_seq_length: int,
    *,
    for_training: bool,
    origin: Origin,
) -> EncodedRows:
    """Encodes N rows, one encoding for each window of a row's context.

    A window's answer is the first of the row's places that lies whole in it, the places of the first
    answer coming first; where a place begins or ends within a token, the whole token counts. A window
    without one points at its first token.
    Arguments and errors as in `pipeline.data.formats.text.encode`; also ValueError for a tokenizer that sets
    no special token before a text.
    """
    frame = Frame.of(tokenizer, 2)
    if not len(frame.ids[0]):
        raise ValueError(
            f"task {origin.task!r}: the tokenizer sets no token before a text, and a question without "
            "answer needs one: choose a backbone with a first token such as [CLS]"
        )
    room = frame.room(max_seq_length)
    questions, contexts = (read_texts(table, spec, origin) for spec in (columns.question, columns.context))
    texts = contexts.to_pylist()
    gold, places = read_places(table, columns.answers, columns.detected, texts, origin)
    question, context = tokenize(questions, tokenizer), tokenize(contexts, tokenizer, spans=True)

    question_lengths = np.minimum(question.lengths, min(columns.max_question_tokens, room // 2))
    row, begin, lengths = cut_windows(context.lengths, room - question_lengths, columns.stride)
    begin = begin + context.first[row]
    place_row, place_first, place_last = _token_places(places, context)
    chosen = first_inside(row, begin, begin + lengths, place_row, place_first, place_last)
    answered = np.bincount(row[chosen >= 0], minlength=len(texts)) > 0
    truncated = question_lengths < question.lengths
    if for_training:
        kept = keep_windows(row, chosen >= 0, columns.max_train_windows)
        truncated |= np.bincount(row[~kept], minlength=len(texts)) > 0
        row, begin, lengths, chosen = row[kept], begin[kept], lengths[kept], chosen[kept]

    pieces = [
        Piece(question, question.first[row], question_lengths[row]),
        Piece(context, begin, lengths),
    ]
    encodings = assemble(frame, pieces)
    marks = np.where(encodings.piece == 1, np.int16(0), np.int16(FORBIDDEN))
    marks[encodings.first] = np.where(chosen < 0, NO_ANSWER, 0)
    held = np.flatnonzero(chosen >= 0)
    before = encodings.first + len(frame.ids[0]) + question_lengths[row] + len(frame.ids[1]) - begin
    marks[before[held] + place_first[chosen[held]]] += BEGINS
    marks[before[held] + place_last[chosen[held]]] += ENDS
    unanswered = np.array([not answers for answers in gold], np.bool_)
    answerless = unanswered & columns.unanswerable & given_answers(table, columns.answers, origin)
    return EncodedRows(
        rows_table(
            encodings,
            np.bincount(row, minlength=len(texts)),
            marks=marks,
            labels=np.zeros(len(texts), np.float32),
            references=None if for_training else _references(encodings, row, context, marks, texts, gold),
        ),
        first_status(
            (Status.MISSING_ANSWER, unanswered & ~answerless),
            (Status.ANSWER_NOT_FOUND, ~unanswered & (np.bincount(place_row, minlength=len(texts)) == 0)),
            (Status.ANSWER_CUT, ~unanswered & ~answered),
            (Status.EMPTY_TEXT, question.lengths == 0),
            (Status.UNANSWERABLE, answerless),
        ),
        truncated,
    )


def _token_places(places: Sequence[Sequence[Place]], context: Tokens) -> tuple[Ints, Ints, Ints]:
    """Row, first and last token of each place that has tokens."""
    row = np.repeat(np.arange(len(places)), [len(own) for own in places]).astype(np.int64)
    characters = np.array([place for own in places for place in own], np.int64).reshape(-1, 2)
    first, last = context.locate(row, characters[:, 0], characters[:, 1])
    good = first <= last
    return row[good], first[good], last[good]


def _references(
    encodings: Encodings,
    row: Ints,
    context: Tokens,
    marks: NDArray[np.int16],
    texts: Sequence[str],
    gold: Sequence[Sequence[str]],
) -> list[str]:
    allowed = marks != FORBIDDEN
    spans = encodings.spans(1, context)[allowed]
    ends = np.cumsum(np.bincount(row[encodings.encoding[allowed]], minlength=len(texts)))
    return (
        [
            json.dumps({"answers": answers, "context": text, "spans": own.tolist()}, ensure_ascii=False)
            for answers, text, own in zip(gold, texts, np.split(spans, ends[:-1]), strict=True)
        ]
        if texts
        else []
    )
