"""Parts of error messages, which are one line long: quotes of libraries' errors, and names like an unknown one."""

import difflib
from collections.abc import Iterable


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the names spelt most alike, or all known names."""
    names = list(known)
    similar = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    if similar:
        return f": did you mean {' or '.join(map(repr, similar))}?"
    return f": the known ones are {', '.join(sorted(names))}"
