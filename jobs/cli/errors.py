"""How a job tells a user's mistake: one line on stderr, exit code 2, no stack trace."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NoReturn


def fail(message: str) -> NoReturn:
    """Ends the program over a mistake in what it was given.

    Jobs also put it around the `ValueError`s of the pipeline, which carry the same kind of message.
    """
    print("error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A closing clause with the known name nearest to `name`, or nothing where none is near."""
    known = list(known)
    leaf = name.rsplit(".", 1)[-1]
    # A right name in the wrong section is nearer than anything spelt alike.
    near = [other for other in known if other.rsplit(".", 1)[-1] == leaf] or get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else ""
