"""Retries of I/O on storage that is full or unreachable for a while."""

import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import first_line

PATIENCE = 600.0  # seconds of failures after which the run ends
LONGEST_PAUSE = 30.0
Result = TypeVar("Result")


def retry_io(action: Callable[[], Result], what: str, log: Callable[[str], object]) -> Result:
    """Retries transient I/O errors (full disk, unreachable store) for up to ten minutes.

    The action is safe to repeat after it failed half-way. `what` describes it in messages, such as "storing ...";
    `log` receives a line if it succeeds late.

    Raises:
        ValueError: the action failed for ten minutes.
    """
    start, pause, reason = time.monotonic(), 1.0, ""
    while True:
        try:
            result = action()
        except OSError as error:  # PyArrow raises OSErrors too
            reason = first_line(error)
            if time.monotonic() > start + PATIENCE:
                raise ValueError(
                    f"{what} has failed for {PATIENCE:g} s ({reason}): "
                    "repair the storage, then continue with --run.resume"
                ) from error
            print(f"{what} is retried: {reason}", flush=True)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            if reason:
                log(f"{what} was {time.monotonic() - start:.0f} s late: {reason}")
            return result
