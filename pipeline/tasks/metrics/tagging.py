"""Official metrics of named entities: F1 of entities by position (CoNLL) and of surface forms (WNUT-17).

Both are on the 0–100 scale. Tags are "O", "B-type" and "I-type" (in some sets also "E-" and "S-"). As in conlleval, an
"I-" that continues no entity begins one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.tasks.decoding import Reference

Tags = Sequence[Sequence[str]]
_Form = tuple[tuple[str, ...], str]

_TAG = re.compile(r"O|[BIES](-.+)?", re.DOTALL)


def entity_f1(predictions: Tags, references: Sequence[Reference]) -> float:
    """F1 over all entities; one is correct if its first word, last word and type are. 0 without any entity.

    Args:
        predictions: One tag per word of each sentence.
        references: `tags`, the right ones.

    Raises:
        ValueError: The numbers of tags and words differ, or a tag has another form.
    """
    from seqeval.metrics import f1_score

    _check(predictions, references)
    right = [list(reference["tags"]) for reference in references]
    return 100.0 * float(f1_score(right, [list(tags) for tags in predictions], zero_division=0))


def surface_f1(predictions: Tags, references: Sequence[Reference]) -> float:
    """F1 over the distinct surface forms (words in their case, type), as in WNUT-17 (Derczynski et al. 2017).

    A form is correct if one of its occurrences is predicted in its position, so a rare form has the same weight as a
    frequent one. Arguments and errors as in `entity_f1`; references also have `tokens`, the words.
    """
    _check(predictions, references)
    right: set[_Form] = set()
    predicted: set[_Form] = set()
    correct: set[_Form] = set()
    for tags, reference in zip(predictions, references, strict=True):
        words = reference["tokens"]
        right_here, predicted_here = _entities(reference["tags"]), _entities(tags)
        for forms, entities in (
            (right, right_here),
            (predicted, predicted_here),
            (correct, right_here & predicted_here),
        ):
            forms.update((tuple(words[first : last + 1]), kind) for kind, first, last in entities)
    return 100.0 * 2.0 * len(correct) / (len(right) + len(predicted)) if correct else 0.0


TAGGING_METRICS: dict[str, Callable[[Sequence[Any], Sequence[Reference]], float]] = {
    "entity_f1": entity_f1,
    "surface_f1": surface_f1,
}


def _entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """(type, first word, last word) of a sentence's entities."""
    from seqeval.metrics.sequence_labeling import get_entities

    return set(get_entities(list(tags)))


def _check(predictions: Tags, references: Sequence[Reference]) -> None:
    for number, (tags, reference) in enumerate(zip(predictions, references, strict=True)):
        right, words = reference["tags"], reference.get("tokens", tags)
        if not len(tags) == len(right) == len(words):
            raise ValueError(
                f"sentence {number} has {len(right)} right and {len(tags)} predicted tags for {len(words)} words: "
                "give one tag per word"
            )
        for tag in (*tags, *right):
            if not _TAG.fullmatch(tag):
                raise ValueError(f"sentence {number} has the tag {tag!r}: use 'O', 'B-type' and 'I-type'")
