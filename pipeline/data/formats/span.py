"""Extractive questions: where in the context the answer begins and ends, over windows of the context.

Shapes: N rows, W windows, K answer spans.
"""

import json
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.data.formats.answers import read_answers
from pipeline.data.formats.encoding import Frame, Ints, assemble, ragged_ranges, tokenize
from pipeline.data.formats.output import EncodedRows, Status
from pipeline.data.formats.reading import SourceRows

# Marks of a token: -100 where no answer may begin or end, else the sum of BEGINS and ENDS that apply
FORBIDDEN = -100
BEGINS, ENDS = 1, 2
NO_ANSWER = BEGINS + ENDS  # at the first token of a window without an answer


@dataclass(frozen=True, kw_only=True)
class SpanColumns:
    """Columns of a row, and how its context is cut.

    Attributes:
        question: Column or template.
        context: Column or template.
        answers: Column of the gold answers: texts, lists of texts, or SQuAD's structs `{text, answer_start}`.
        detected: Column of MRQA's detected answers `{text, char_spans}`, whose ends are inclusive. If no
            column states the spans, the context is searched for the answers' text.
        unanswerable: Whether an empty answer (text or list) means that the question has none (SQuAD 2): every
            window is then trained to point at its first token. Otherwise the answer is missing.
        stride: Tokens of the context that neighbouring windows share; at most half a window.
        max_question_tokens: Tokens of a question that are kept, at most half of an encoding.
        max_train_windows: Largest number of a row's windows in training: those with the answer first, then
            in order. Evaluation has no limit.
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
    rows: SourceRows, columns: SpanColumns, tokenizer: Tokenizer, max_seq_length: int, *, for_training: bool
) -> EncodedRows:
    """Encodes N rows, one encoding for each window of a row's context.

    A window's answer is the first span that lies inside it, in the order of the row's answers. A span includes
    the tokens that it only touches. A window without an answer points
    at its first token, so a tokenizer that adds no token before a text is refused with ValueError.
    """
    frame = Frame.of(tokenizer, 2)
    if not len(frame.ids[0]):
        raise ValueError(
            f"task {rows.origin.task!r}: the tokenizer adds no token before a text, and a question without "
            "answer needs one: choose a backbone with a first token such as [CLS]"
        )
    room, count = frame.room(max_seq_length), len(rows)
    questions, contexts = rows.texts(columns.question), rows.texts(columns.context)
    answers = read_answers(rows, columns.answers, columns.detected, contexts.to_pylist())
    question, context = tokenize(questions, tokenizer), tokenize(contexts, tokenizer, spans=True)

    question_lengths = np.minimum(question.lengths, min(columns.max_question_tokens, room // 2))
    truncated = question_lengths < question.lengths
    row, begin, lengths = cut_windows(context.lengths, room - question_lengths, columns.stride)
    begin = begin + context.first[row]
    span_row = np.repeat(np.arange(count), list(map(len, answers.spans)))
    starts, ends = np.array(list(chain.from_iterable(answers.spans)), np.int64).reshape(-1, 2).T
    first, last = context.locate(span_row, starts, ends)
    valid = first <= last  # not so for a span without tokens
    span_row, first, last = span_row[valid], first[valid], last[valid]
    answer = first_inside(row, begin, begin + lengths, span_row, first, last)
    in_window = np.isin(np.arange(count), row[answer >= 0])
    if for_training:
        keep = keep_windows(row, answer >= 0, columns.max_train_windows)
        truncated |= np.isin(np.arange(count), row[~keep])
        row, begin, lengths, answer = row[keep], begin[keep], lengths[keep], answer[keep]

    pieces = [
        replace(question, lengths=question_lengths).take(row),
        replace(context, first=begin, lengths=lengths),
    ]
    encodings = assemble(frame, pieces)
    marks = np.where(encodings.piece == 1, np.int16(0), np.int16(FORBIDDEN))
    marks[encodings.first] = np.where(answer < 0, NO_ANSWER, 0)
    with_answer = np.flatnonzero(answer >= 0)
    shift = encodings.first + len(frame.ids[0]) + question_lengths[row] + len(frame.ids[2]) - begin
    marks[shift[with_answer] + first[answer[with_answer]]] += BEGINS
    marks[shift[with_answer] + last[answer[with_answer]]] += ENDS
    answerless = np.array([not texts for texts in answers.texts], np.bool_)
    unanswerable = answerless & columns.unanswerable & answers.stated
    statuses = [
        (Status.MISSING_ANSWER, answerless & ~unanswerable),
        (Status.ANSWER_NOT_FOUND, ~answerless & ~np.isin(np.arange(count), span_row)),
        (Status.ANSWER_CUT, ~answerless & ~in_window),
        (Status.EMPTY_TEXT, question.lengths == 0),
        (Status.UNANSWERABLE, unanswerable),
    ]
    references = None
    if not for_training:
        allowed = marks != FORBIDDEN
        per_row = np.bincount(row[encodings.encoding[allowed]], minlength=count)
        token_spans = np.split(encodings.spans(1, context)[allowed], np.cumsum(per_row)[:-1])
        references = [
            json.dumps({"answers": gold, "context": text, "spans": part.tolist()}, ensure_ascii=False)
            for gold, text, part in zip(answers.texts, contexts.to_pylist(), token_spans, strict=False)
        ]
    per_row = np.bincount(row, minlength=count)
    return EncodedRows.of(encodings, statuses, truncated, per_row=per_row, marks=marks, references=references)


def cut_windows(lengths: Ints, room: Ints, stride: int) -> tuple[Ints, Ints, Ints]:
    """Cuts texts into overlapping windows, so that the next window contains a short answer cut at one's end.

    Args:
        lengths: [N] tokens of the texts; an empty text has one empty window.
        room: [N] tokens of the widest window, at least 1.
        stride: Tokens that neighbouring windows share, as in the tokenizers library; at most half a window.

    Returns:
        Row, first token within its text and number of tokens of each window, each [W], in order.
    """
    step = room - np.minimum(stride, room // 2)
    counts = 1 + np.maximum(0, -(-(lengths - room) // step))
    row = np.repeat(np.arange(len(lengths)), counts)
    first = ragged_ranges(np.zeros(len(counts), np.int64), counts) * step[row]
    return row, first, np.minimum(room[row], lengths[row] - first)


def first_inside(row: Ints, begin: Ints, end: Ints, span_row: Ints, first: Ints, last: Ints) -> Ints:
    """[W] number of the first span of the window's row that lies inside the window, -1 where none does.

    Args:
        row, begin, end: [W] row of each window, position of its first token and after its last.
        span_row, first, last: [K] row of each span, ascending, position of its first and of its last token.
    """
    low, high = np.searchsorted(span_row, [row, row + 1])
    window, span = np.repeat(np.arange(len(row)), high - low), ragged_ranges(low, high - low)
    inside = np.flatnonzero((first[span] >= begin[window]) & (last[span] < end[window]))
    windows, earliest = np.unique(window[inside], return_index=True)
    answer = np.full(len(row), -1, np.int64)
    answer[windows] = span[inside[earliest]]
    return answer


def keep_windows(row: Ints, has_answer: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """[W] whether a window is among the `limit` of its row: those with an answer first, then in order."""
    order = np.lexsort((~has_answer, row))  # stable; rows ascend
    keep = np.empty(len(order), np.bool_)
    keep[order] = np.arange(len(order)) - np.searchsorted(row, row) < limit
    return keep
