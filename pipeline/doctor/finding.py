"""The result of a check, safe to show to anybody."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from typing import TypeVar

from pipeline.errors import first_line
from pipeline.tracking.texts import redact

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """The result of a check in one line, and a remedy. Users and passwords in addresses are masked."""

    name: str
    ok: bool | None  # None: the check could not be made
    message: str
    remedy: str = ""

    def __post_init__(self) -> None:
        for field in ("message", "remedy"):
            object.__setattr__(self, field, redact(" ".join(getattr(self, field).split())))

    @staticmethod
    def of_error(name: str, error: Exception) -> Finding:
        """Returns the finding of a failed check. The project's own errors read `what is wrong: remedy`."""
        if not isinstance(error, ValueError):
            return Finding(name, False, f"{type(error).__name__}: {first_line(error)}", "see what this names")
        message, _, remedy = first_line(error).rpartition(": ")
        return Finding(name, False, message, remedy) if message else Finding(name, False, remedy)


class UnavailableError(Exception):
    """An earlier check did not provide what a check needs; the text names it."""


def require(value: T | None, name: str) -> T:
    """Returns a value that an earlier check provided; raises UnavailableError if it is empty."""
    if not value:
        raise UnavailableError(name)
    return value


def collect_findings(name: str, check: Callable[[], Sequence[Finding]]) -> list[Finding]:
    """Returns a check's findings. An exception becomes a finding, so that the other checks still run."""
    try:
        return list(check())
    except UnavailableError as error:
        return [Finding(name, None, f"skipped: needs {error}")]
    except Exception as error:  # libraries raise any type
        return [Finding.of_error(name, error)]


def call_with_timeout(seconds: float, fn: Callable[[], T]) -> T:
    """Returns the result of `fn`; raises TimeoutError if it takes too long and abandons its daemon thread."""
    pool = ThreadPool(1)
    result = pool.apply_async(fn)
    pool.close()
    try:
        return result.get(seconds)
    except multiprocessing.TimeoutError:
        raise TimeoutError(f"no answer in {seconds:g} s") from None
