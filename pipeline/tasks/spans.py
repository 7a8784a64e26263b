"""Answers' texts from the start and end logits of a row's windows, best first.

Shapes: P positions of a window where an answer may start or end; position 0 is "no answer here".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Reference = Mapping[str, Any]

N_BEST = 20
MAX_ANSWER_TOKENS = 30  # as in BERT's own decoding
# What stands for a logit that is not finite: four of them still add up to a number.
_LOWEST = float(np.finfo(np.float64).min) / 4


@dataclass(frozen=True)
class SpanAnswer:
    """A possible answer.

    Attributes:
        text: The words, as they stand in the context.
        score: Its start and end logits minus those of "no answer" in the same window: log odds.
        begin: Its first character in the context.
        end: The character after its last one.
        window: Number of the encoding that it is read from.
    """

    text: str
    score: float
    begin: int
    end: int
    window: int


def decode_span(
    windows: Sequence[Array],
    reference: Reference,
    *,
    null_threshold: float | None = None,
    max_answer_tokens: int = MAX_ANSWER_TOKENS,
) -> str:
    """The text of the best answer over all windows, or "".

    Args:
        windows: As `best_spans`.
        reference: As `best_spans`.
        null_threshold: "" is said unless an answer's log odds exceed it (SQuAD 2). None answers every question, as the
            sets want whose questions all have an answer (MRQA's); "" then stands for windows without any context.
        max_answer_tokens: As `best_spans`.
    """
    best = best_spans(windows, reference, n_best=1, max_answer_tokens=max_answer_tokens)
    if not best or (null_threshold is not None and best[0].score <= null_threshold):
        return ""
    return best[0].text


def best_spans(
    windows: Sequence[Array],
    reference: Reference,
    *,
    n_best: int = N_BEST,
    max_answer_tokens: int = MAX_ANSWER_TOKENS,
) -> list[SpanAnswer]:
    """The best answers over all windows, best first; of equal ones the first in the text.

    Logits of two windows have no common zero, so an answer's score is taken against that of its own window's first
    position, "no answer here": g of Alberti et al. (2019, arXiv 1901.08634).

    Args:
        windows: [P, 2] start and end logits of each window's allowed positions; position 0 is "no answer".
        reference: `context`, and `spans`: [first character, character after the last one] of every allowed
            position of every window in order ([-1, -1] for position 0).
        n_best: Answers at most; one that several windows hold is listed once.
        max_answer_tokens: Length of an answer at most; longer ones are not considered.

    Raises:
        ValueError: Another number of positions than spans.
    """
    spans, context = reference["spans"], reference["context"]
    positions = sum(len(window) for window in windows)
    if positions != len(spans):
        raise ValueError(
            f"span logits of {positions} positions for {len(spans)} spans: prepare the data anew"
        )
    found: dict[tuple[int, int], SpanAnswer] = {}
    offset = 0
    for number, window in enumerate(windows):
        for first, last, score in _best_pairs(window, n_best, max_answer_tokens):
            begin, end = int(spans[offset + first][0]), int(spans[offset + last][1])
            if (begin, end) not in found or found[begin, end].score < score:
                found[begin, end] = SpanAnswer(context[begin:end], score, begin, end, number)
        offset += len(window)
    return sorted(found.values(), key=lambda answer: (-answer.score, answer.begin, answer.end))[:n_best]


def _best_pairs(window: Array, n_best: int, max_tokens: int) -> list[tuple[int, int, float]]:
    """(first position, last position, score) of the best pairs of one window: all pairs in reach are compared."""
    if len(window) < 2:
        return []
    logits = np.nan_to_num(window.astype(np.float64), nan=_LOWEST, posinf=-_LOWEST, neginf=_LOWEST)
    firsts, lengths = np.indices((len(logits) - 1, max_tokens)).reshape(2, -1)
    firsts += 1
    lasts = firsts + lengths
    inside = lasts < len(logits)
    firsts, lasts = firsts[inside], lasts[inside]
    scores = logits[firsts, 0] + logits[lasts, 1] - logits[0].sum()
    if len(scores) > n_best:  # everything as good as the n-th, in order, so that ties are not cut at random
        kept = np.flatnonzero(scores >= np.partition(scores, -n_best)[-n_best])
        firsts, lasts, scores = firsts[kept], lasts[kept], scores[kept]
    order = np.argsort(-scores, kind="stable")[:n_best]
    return [(int(firsts[pair]), int(lasts[pair]), float(scores[pair])) for pair in order]
