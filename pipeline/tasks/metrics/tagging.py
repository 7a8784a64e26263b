"""Official metrics of named entities: F1 of entities where they stand (CoNLL), and of surface forms (WNUT-17).

Both are on the 0–100 scale and take per sentence the predicted tags and a reference: `tags`, the right ones, and
`tokens`, the words. Tags are "O", "B-type" and "I-type" (and "E-", "S-" where a set has them). An entity is read
from them as conlleval does, which takes an "I-" that continues nothing for a beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Reference = Mapping[str, Any]
Tags = Sequence[Sequence[str]]
_Form = tuple[tuple[str, ...], str]

_TAG = re.compile(r"O|[BIES](-.+)?", re.DOTALL)


def entity_f1(predictions: Tags, references: Sequence[Reference]) -> float:
    """F1 over all entities; one counts as found with the right first and last word and the right type.

    0 where no sentence has or gets an entity.

    Args:
        predictions: One tag per word of each sentence.
        references: `tags`, the right ones.

    Raises:
        ValueError: No sentences, another number of references than predictions, of tags than words, or a tag
            that is none of the above.
    """
    from seqeval.metrics import f1_score

    _check(predictions, references)
    right = [list(reference["tags"]) for reference in references]
    return 100.0 * float(f1_score(right, [list(tags) for tags in predictions], zero_division=0))


def surface_f1(predictions: Tags, references: Sequence[Reference]) -> float:
    """F1 over the different entities (words in their case, type), however often each occurs.

    An entity counts as found where one of its occurrences is found in its place; finding a rare one weighs as
    much as finding all of a frequent one. So measures the script of WNUT-17 (Derczynski et al. 2017).

    Args:
        predictions: One tag per word of each sentence.
        references: `tags`, the right ones, and `tokens`, the words.

    Raises:
        ValueError: As `entity_f1`.
    """
    _check(predictions, references)
    right: set[_Form] = set()
    given: set[_Form] = set()
    found: set[_Form] = set()
    for tags, reference in zip(predictions, references, strict=True):
        words = reference["tokens"]
        right_here, given_here = _entities(reference["tags"]), _entities(tags)
        for forms, places in ((right, right_here), (given, given_here), (found, right_here & given_here)):
            forms.update((tuple(words[first : last + 1]), kind) for kind, first, last in places)
    return 100.0 * 2.0 * len(found) / (len(right) + len(given)) if found else 0.0


TAGGING_METRICS: dict[str, Callable[[Sequence[Any], Sequence[Reference]], float]] = {
    "entity_f1": entity_f1,
    "surface_f1": surface_f1,
}


def _entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """(type, first word, last word) of a sentence's entities."""
    from seqeval.metrics.sequence_labeling import get_entities

    return set(get_entities(list(tags)))


def _check(predictions: Tags, references: Sequence[Reference]) -> None:
    if not len(predictions) or len(predictions) != len(references):
        raise ValueError(
            f"tags of {len(predictions)} sentences for {len(references)} references: give one of each per sentence"
        )
    for number, (tags, reference) in enumerate(zip(predictions, references, strict=True)):
        lengths = {len(tags), len(reference["tags"]), len(reference.get("tokens", tags))}
        if len(lengths) > 1:
            raise ValueError(
                f"sentence {number} has {len(reference['tags'])} right tags and {len(tags)} predicted ones"
                f" for {len(reference.get('tokens', tags))} words: give one tag per word"
            )
        for tag in (*tags, *reference["tags"]):
            if not _TAG.fullmatch(tag):
                raise ValueError(
                    f"sentence {number} has the tag {tag!r}: entities are tagged 'O', 'B-type' and 'I-type'"
                )
