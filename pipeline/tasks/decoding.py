"""From a row's outputs to its prediction: a class, a value, a choice, tags of all words, or an answer's text.

Pure functions of numpy arrays and of the row's `reference`, of which they read what was asked (context, words,
choices) and never what is right. Shapes: P positions of a window where an answer may start or end, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.tasks.spans import Array, Reference, decode_span

Prediction = int | float | str | list[str]


def decode(
    kind: str,
    outputs: Array | Sequence[Array],
    reference: Reference | None = None,
    *,
    label_names: Sequence[str] = (),
    null_threshold: float | None = None,
) -> Prediction:
    """The prediction of one row.

    Args:
        kind: The head's kind.
        outputs: classification and marked [C]; regression [1]; choice [choices]; tagging [labelled tokens, C];
            span: [P, 2] for each window.
        reference: The prepared row's; span, tagging and ReCoRD's choices need it.
        label_names: Names of the tags in the order of their numbers, for tagging.
        null_threshold: See `decode_span`.

    Returns:
        int for a class or a choice, str for ReCoRD's choice and for a span, float for a value, list[str] for tags.

    Raises:
        ValueError: An unknown kind, or outputs that do not fit the reference.
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
        f"no decoding for head kind {kind!r}: the kinds are classification, marked, regression, choice, tagging, span"
    )


def decode_choice(scores: Array, choices: Sequence[str] | None = None) -> int | str:
    """The choice of the highest score, the first of equals: its number, or its text where texts are given.

    Args:
        scores: [choices].
        choices: Texts of the choices (ReCoRD's entities); a row without any is answered "".

    Raises:
        ValueError: No scores and no texts, or another number of scores than texts.
    """
    if choices is not None and len(choices) != len(scores):
        raise ValueError(f"{len(scores)} scores for {len(choices)} choices: prepare the data anew")
    if not len(scores):
        if choices is None:
            raise ValueError("a row of a choice has no encodings: give it at least one choice")
        return ""
    best = int(np.argmax(scores))
    return best if choices is None else choices[best]


def decode_tags(logits: Array, reference: Reference, label_names: Sequence[str]) -> list[str]:
    """Tags of all words. A word that was cut off gets "O"; one in several windows the tag of its mean logits.

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
    np.add.at(sums, words, logits)  # the mean's largest entry is the sum's
    tags = ["O"] * len(sums)
    for word in np.unique(words):
        tags[word] = label_names[int(np.argmax(sums[word]))]
    return tags
