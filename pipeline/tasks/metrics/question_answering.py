"""Official metrics of textual answers (MRQA, SQuAD, ReCoRD) and of answers judged per question (MultiRC).

All are on the 0–100 scale and take one prediction and one reference per row, of one row or more. Texts are compared as
words: lower case, without ASCII punctuation and articles, as in the evaluation scripts of SQuAD (Rajpurkar et al.
2016), the MRQA shared task (Fisch et al. 2019) and ReCoRD (Zhang et al. 2018).
"""

from __future__ import annotations

import re
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from pipeline.tasks.decoding import Reference
from pipeline.tasks.metrics.classification import f1

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def answer_words(text: str) -> list[str]:
    """The words by which an answer is compared; "The U.S.A.!" and "usa" have the same."""
    # Punctuation is removed first and leaves no space: "a-b" is the word "ab", and "the-" is an article.
    return _ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()


def exact_match(predictions: Sequence[str], references: Sequence[Reference]) -> float:
    """Share of predictions whose words are those of a right answer, in order.

    Args:
        predictions: One text per row; "" means "no answer".
        references: `answers`, the right texts. If there are none, or only blank ones, "" is right.
    """
    return _mean_best(lambda words, right: float(words == right), predictions, references)


def token_f1(predictions: Sequence[str], references: Sequence[Reference]) -> float:
    """Mean over the rows of the words' F1 against the nearest right answer; arguments as in `exact_match`.

    A right answer of articles and punctuation alone gives 0, as in the MRQA and ReCoRD scripts.
    """
    return _mean_best(_words_f1, predictions, references)


def multirc_f1a(predictions: Sequence[int], references: Sequence[Reference]) -> float:
    """F1 of class 1, "right", over the answers of all questions: MultiRC's F1a (Khashabi et al. 2018).

    Args:
        predictions: One class per answer.
        references: `label` of the answer.
    """
    labels = [int(reference["label"]) for reference in references]
    return f1(np.asarray(predictions, dtype=np.int64), np.asarray(labels, dtype=np.int64))


def multirc_em(predictions: Sequence[int], references: Sequence[Reference]) -> float:
    """Share of questions whose answers are all classified correctly: MultiRC's EM.

    Args:
        predictions: One class per answer.
        references: `label` of the answer, and `question`, [paragraph number, question number]; some copies of the
            set number the questions of each paragraph from 0.
    """
    correct: defaultdict[Hashable, list[bool]] = defaultdict(list)
    for prediction, reference in zip(predictions, references, strict=True):
        correct[tuple(reference["question"])].append(int(prediction) == int(reference["label"]))
    return 100.0 * float(np.mean([all(answers) for answers in correct.values()]))


QA_METRICS: dict[str, Callable[[Sequence[Any], Sequence[Reference]], float]] = {
    "em": exact_match,
    "token_f1": token_f1,
    "f1a": multirc_f1a,
    "question_em": multirc_em,
}


def _mean_best(
    score: Callable[[list[str], list[str]], float],
    predictions: Sequence[str],
    references: Sequence[Reference],
) -> float:
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        words = answer_words(prediction)
        if any(answer.strip() for answer in reference["answers"]):
            scores.append(max(score(words, answer_words(answer)) for answer in reference["answers"]))
        else:
            scores.append(float(not words))
    return 100.0 * float(np.mean(scores))


def _words_f1(words: list[str], right: list[str]) -> float:
    """F1 of two bags of words, 0 if they share none."""
    shared = (Counter(words) & Counter(right)).total()
    return 2.0 * shared / (len(words) + len(right)) if shared else 0.0
