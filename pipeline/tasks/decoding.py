"""From a row's outputs to its prediction: a class, a value, a choice, the tags of all words, or an answer's text.

Pure functions of numpy arrays and the row's `reference`. They read the question (context, words, choices), never the
right answer. Shapes: P positions of a window where an answer may start or end, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Logits = NDArray[np.floating[Any]]
Reference = Mapping[str, Any]  # `label` of a row, and the fields of its prepared reference
Prediction = int | float | str | list[str]

MAX_ANSWER_TOKENS = 30  # as in BERT's decoding
# Replaces a logit that is not finite; sums of up to four logits stay finite
_LOWEST = float(np.finfo(np.float64).min) / 4


def decode(
    kind: str,
    outputs: Logits | Sequence[Logits],
    reference: Reference | None = None,
    *,
    label_names: Sequence[str] = (),
    null_threshold: float | None = None,
) -> Prediction:
    """Returns the prediction of one row.

    Args:
        kind: The head's kind.
        outputs: classification and marked [C]; regression [1]; choice [choices]; tagging [labelled tokens, C];
            span: [P, 2] for each window.
        reference: The row's prepared reference; for span, tagging and ReCoRD's choices.
        label_names: Names of the tags in the order of their numbers; for tagging.
        null_threshold: See `decode_span`.

    Returns:
        int for a class or a choice, str for ReCoRD's choice and for a span, float for a value, list[str] for tags.

    Raises:
        ValueError: The kind is unknown, or the outputs do not fit the reference.
    """
    reference = reference or {}
    if kind in ("classification", "marked"):
        return int(np.argmax(outputs))
    if kind == "regression":
        return float(np.reshape(outputs, -1)[0])
    if kind == "choice":
        return decode_choice(np.asarray(outputs), reference.get("choices"))
    if kind == "tagging":
        return decode_tags(np.asarray(outputs), reference, label_names)
    if kind == "span":
        return decode_span(list(outputs), reference, null_threshold=null_threshold)
    raise ValueError(
        f"no decoding for head kind {kind!r}: use classification, marked, regression, choice, tagging or span"
    )


def decode_choice(scores: Logits, choices: Sequence[str] | None = None) -> int | str:
    """Returns the first choice of the highest score: its index, or its text if texts are given.

    Args:
        scores: [choices].
        choices: Texts of the choices (ReCoRD's entities); without any, the prediction is "".

    Raises:
        ValueError: There are neither scores nor texts, or their numbers differ.
    """
    if choices is not None and len(choices) != len(scores):
        raise ValueError(f"{len(scores)} scores for {len(choices)} choices: prepare data again")
    if not len(scores):
        if choices is None:
            raise ValueError("a row of a choice task has no encodings: give it at least one choice")
        return ""
    best = int(np.argmax(scores))
    return best if choices is None else choices[best]


def decode_tags(logits: Logits, reference: Reference, label_names: Sequence[str]) -> list[str]:
    """Returns the tags of all words: of the mean logits over windows, and "O" for a word that was cut off.

    Args:
        logits: [labelled tokens, C], over all encodings of the row.
        reference: `tokens`, the words, and `words`, the word's number of each labelled token.
        label_names: [C] names of the tags.

    Raises:
        ValueError: The logits fit neither the words nor the names.
    """
    words = np.asarray(reference["words"], dtype=np.int64)
    if logits.shape != (len(words), len(label_names)):
        raise ValueError(
            f"tag logits of shape {logits.shape} for {len(words)} labelled words and {len(label_names)} label_names"
        )
    sums = np.zeros((len(reference["tokens"]), len(label_names)))
    np.add.at(sums, words, logits)  # sum and mean have the same largest entry
    tags = ["O"] * len(sums)
    for word in np.unique(words):
        tags[word] = label_names[int(np.argmax(sums[word]))]
    return tags


def decode_span(
    windows: Sequence[Logits], reference: Reference, *, null_threshold: float | None = None
) -> str:
    """Returns the text of the best answer over all windows, of equal ones the first and shortest.

    Logits of two windows have no common zero. Therefore an answer's score is its start and end logits minus those of
    its window's position 0, "no answer here": log odds, g of Alberti et al. (2019, arXiv 1901.08634).

    Args:
        windows: [P, 2] start and end logits of each window's allowed positions; position 0 is "no answer here".
        reference: `context`, and `spans`: [first character, character after the last one] of every allowed
            position of every window in order ([-1, -1] for position 0).
        null_threshold: The answer is "" unless the best score exceeds it (SQuAD 2). None answers every question
            (MRQA); the answer is then "" only if no window has any context.

    Raises:
        ValueError: The numbers of positions and spans differ.
    """
    spans = reference["spans"]
    positions = sum(map(len, windows))
    if positions != len(spans):
        raise ValueError(
            f"span logits of {positions} positions for {len(spans)} spans: prepare the data again"
        )
    answers: list[tuple[float, int, int]] = []  # (-score, first character, character after the last one)
    offset = 0
    for window in windows:
        if len(window) > 1:
            logits = np.nan_to_num(window.astype(np.float64), nan=_LOWEST, posinf=-_LOWEST, neginf=_LOWEST)
            starts, ends = logits[1:].T
            ends = np.pad(ends, (0, MAX_ANSWER_TOKENS - 1), constant_values=-np.inf)
            scores = starts[:, None] + sliding_window_view(ends, MAX_ANSWER_TOKENS) - logits[0].sum()
            first, length = np.unravel_index(np.argmax(scores), scores.shape)  # length: tokens - 1
            begin, end = spans[offset + 1 + first][0], spans[offset + 1 + first + length][1]
            answers.append((-float(scores[first, length]), int(begin), int(end)))
        offset += len(window)
    if not answers:
        return ""
    negative_score, begin, end = min(answers)
    if null_threshold is not None and -negative_score <= null_threshold:
        return ""
    return str(reference["context"][begin:end])
