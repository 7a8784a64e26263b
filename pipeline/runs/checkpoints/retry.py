"""Storage that is full or away for a while: what is written there is written later."""

import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import first_line

PATIENCE = 600.0  # seconds that storage may be full or away before the run gives up
LONGEST_PAUSE = 30.0
Result = TypeVar("Result")


def retry_io(action: Callable[[], Result], what: str, tell: Callable[[str], object]) -> Result:
    """Do something with storage, again and again until it succeeds.

    Args:
        action: may be done again after it has failed half-way.
        what: it does, in words: "storing ...".
        tell: hears of it when it is done late.

    Raises:
        ValueError: it does not succeed for ten minutes.
    """
    began, pause, reason = time.monotonic(), 1.0, ""
    while True:
        try:
            result = action()
        except OSError as error:  # PyArrow's are OSErrors too
            reason = first_line(error)
            if time.monotonic() > began + PATIENCE:
                raise ValueError(
                    f"{what} has failed for {PATIENCE:g} s ({reason}): "
                    "mend the storage, and go on with --run.resume"
                ) from error
            print(f"{what} is tried again: {reason}", flush=True)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            if reason:
                tell(f"{what} was {time.monotonic() - began:.0f} s late: {reason}")
            return result
