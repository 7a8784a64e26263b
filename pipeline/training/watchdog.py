"""Where this process's rank is, and an error that names the place when it stays there too long.

A rank that hangs in an evaluation, in a save or in waiting for rows leaves all others waiting in their next
sum over ranks. Each notes where it is; a thread beside the work raises when nothing new was noted for longer
than the limit. The rank that hangs was the first to fall silent, so it is the first to be named.
"""

import threading
import time
from collections.abc import Callable

_CHECK_SECONDS = 1.0


class HangError(RuntimeError):
    """A rank did not get on within the limit; the message names rank and place."""


class _Here:
    """Where this process is. One rank lives in a process, so there is one."""

    place, since = "starting", time.monotonic()


def mark_progress(place: str) -> None:
    """Note where the rank is: the time that it may spend there begins anew."""
    _Here.place, _Here.since = place, time.monotonic()


def run_with_watchdog(work: Callable[[], None], *, who: str, limit: float) -> None:
    """Do the work in a thread, and raise from this one when it hangs.

    The thread that hangs is left behind: the caller's process is expected to end.

    Args:
        work: notes with `mark_progress` where it is.
        who: as the error names it, like "rank 3 on node7".
        limit: seconds at one place.

    Raises:
        HangError: it was longer at one place.
        BaseException: whatever the work raised.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    mark_progress("starting")
    thread = threading.Thread(target=run, name="work", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(min(_CHECK_SECONDS, limit / 4))
        if thread.is_alive() and time.monotonic() - _Here.since > limit:
            raise HangError(
                f"{who} has not got on for {limit:g} s: {_Here.place}. If that may take so long, raise "
                "cluster.hang_timeout; otherwise look at that machine, and go on with --run.resume"
            )
    if raised:
        raise raised[0]
