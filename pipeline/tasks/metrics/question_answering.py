"""Official metrics of answers in words (MRQA, SQuAD, ReCoRD) and of answers judged in groups (MultiRC).

All are on the 0–100 scale and take one prediction and one reference per row. An answer is compared as its
words: lower case, without ASCII punctuation and without articles. So compare SQuAD (Rajpurkar et al. 2016),
the MRQA shared task (Fisch et al. 2019) and ReCoRD (Zhang et al. 2018), each in its evaluation script.
"""

from __future__ import annotations

import re
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.tasks.metrics.classification import f1

Reference = Mapping[str, Any]

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def answer_words(text: str) -> list[str]:
    """The words by which an answer is compared; "The U.S.A.!" and "usa" have the same."""
    # Punctuation goes first, without leaving a space: "a-b" is the word "ab", and "the-" is an article.
    return _ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()


def exact_match(predictions: Sequence[str], references: Sequence[Reference]) -> float:
    """Share of answers with the words of one of the right ones, in their order.

    Args:
        predictions: One text per row; "" says that there is no answer.
        references: `answers`, the right texts. Where there are none, or only blank ones, saying nothing is right.

    Raises:
        ValueError: No rows, or another number of references than predictions.
    """
    return _best_of_answers(lambda given, right: float(given == right), predictions, references)


def token_f1(predictions: Sequence[str], references: Sequence[Reference]) -> float:
    """Mean over the rows of the F1 of an answer's words, against the right answer that it is nearest to.

    Arguments and errors are those of `exact_match`. A right answer that consists of articles and punctuation
    alone gives 0, whatever is predicted: so do the MRQA and ReCoRD scripts.
    """
    return _best_of_answers(_words_f1, predictions, references)


def multirc_f1a(predictions: Sequence[int], references: Sequence[Reference]) -> float:
    """F1 of "right" over all answers of all questions, MultiRC's F1a (Khashabi et al. 2018).

    Args:
        predictions: One class per answer; 1 judges it right.
        references: `label`, 1 for a right answer.

    Raises:
        ValueError: No rows, or another number of references than predictions.
    """
    _check_rows(predictions, references)
    labels = [int(reference["label"]) for reference in references]
    return f1(np.asarray(predictions, dtype=np.int64), np.asarray(labels, dtype=np.int64))


def multirc_em(predictions: Sequence[int], references: Sequence[Reference]) -> float:
    """Share of questions all of whose answers are judged as they should be, MultiRC's EM.

    Args:
        predictions: One class per answer.
        references: `label` of the answer, and `question`, [paragraph number, question number]: questions are
            numbered anew in each paragraph in some copies of the set.

    Raises:
        ValueError: No rows, or another number of references than predictions.
    """
    _check_rows(predictions, references)
    judged: defaultdict[Hashable, list[bool]] = defaultdict(list)
    for prediction, reference in zip(predictions, references, strict=True):
        judged[tuple(reference["question"])].append(int(prediction) == int(reference["label"]))
    return 100.0 * float(np.mean([all(right) for right in judged.values()]))


QA_METRICS: dict[str, Callable[[Sequence[Any], Sequence[Reference]], float]] = {
    "em": exact_match,
    "token_f1": token_f1,
    "f1a": multirc_f1a,
    "question_em": multirc_em,
}


def _best_of_answers(
    score: Callable[[list[str], list[str]], float],
    predictions: Sequence[str],
    references: Sequence[Reference],
) -> float:
    _check_rows(predictions, references)
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        given = answer_words(prediction)
        if any(answer.strip() for answer in reference["answers"]):
            scores.append(max(score(given, answer_words(answer)) for answer in reference["answers"]))
        else:
            scores.append(float(not given))
    return 100.0 * float(np.mean(scores))


def _words_f1(given: list[str], right: list[str]) -> float:
    """F1 of two bags of words, 0 where they share none."""
    shared = (Counter(given) & Counter(right)).total()
    return 2.0 * shared / (len(given) + len(right)) if shared else 0.0


def _check_rows(predictions: Sequence[object], references: Sequence[Reference]) -> None:
    if not len(predictions) or len(predictions) != len(references):
        raise ValueError(
            f"{len(predictions)} predictions for {len(references)} references: give one of each per row"
        )
