"""A user's mistake: one line on stderr, exit code 2, no stack trace."""

import sys
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import NoReturn


def fail(message: str) -> NoReturn:
    """Prints one line and ends the program with exit code 2.

    Jobs use it for the pipeline's `ValueError`s too, whose messages are written for users.
    """
    print("error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A closing "; did you mean X?" with the known name nearest to `name`; empty where none is near."""
    section, _, leaf = name.rpartition(".")

    def likeness(other: str) -> float:
        # The field's name counts most: a right field in a wrong section is nearer than a wrong field in the right one.
        other_section, _, other_leaf = other.rpartition(".")
        sections_alike = SequenceMatcher(None, section, other_section).ratio()
        return SequenceMatcher(None, leaf, other_leaf).ratio() + 0.1 * sections_alike

    nearest = max(known, key=likeness, default=None)
    return f"; did you mean {nearest}?" if nearest and likeness(nearest) > 0.6 else ""
