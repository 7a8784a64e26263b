"""What a check found, in words that may be shown to anybody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipeline.errors import first_line
from pipeline.tracking.texts import redact

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """What a check found. Users and passwords in addresses are masked, whoever wrote the texts.

    Attributes:
        name: What was looked at.
        ok: Whether all is well; None where it could not be looked at.
        told: What was found, in one line.
        mend: What to do about it; empty where all is well.
    """

    name: str
    ok: bool | None
    told: str
    mend: str = ""

    def __post_init__(self) -> None:
        for field in ("told", "mend"):
            object.__setattr__(self, field, redact(" ".join(getattr(self, field).split())))

    @staticmethod
    def of_error(name: str, error: Exception) -> Finding:
        """A check's error. The project's own are written `what is wrong: how to mend it`."""
        if not isinstance(error, ValueError):
            return Finding(name, False, f"{type(error).__name__}: {first_line(error)}", "see what this names")
        told, _, mend = first_line(error).rpartition(": ")
        return Finding(name, False, told, mend) if told else Finding(name, False, mend)

    @staticmethod
    def skipped(name: str, needs: str) -> Finding:
        """A check that another one's failure keeps from being made."""
        return Finding(name, None, f"skipped: needs {needs}")


def guarded(name: str, check: Callable[[], Sequence[Finding]]) -> list[Finding]:
    """A check's findings; whatever it raises becomes one, so that the others are made all the same."""
    try:
        return list(check())
    except Exception as error:  # a library's, of any kind
        return [Finding.of_error(name, error)]


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` gives, if it ends in time; it is left behind in its thread where it does not.

    Raises:
        TimeoutError: It did not.
    """
    ended: list[T | Exception] = []

    def run() -> None:
        try:
            ended.append(work())
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        raise TimeoutError(f"no answer in {seconds:g} s")
    if isinstance(ended[0], Exception):
        raise ended[0]
    return ended[0]


def in_bytes(count: float) -> str:
    """A number of bytes for a person: "1.5 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
