"""Detects a rank that hangs, and names the stage that it is in.

A rank that hangs in an evaluation, in a save or while it waits for rows blocks all others in their next sum over
ranks. Each rank marks its stages; a thread beside the work raises an error when a stage exceeds the limit. The
rank that hangs made no progress for the longest time, so its error is the first.
"""

import threading
import time
from collections.abc import Callable

_CHECK_SECONDS = 1.0


class HangError(RuntimeError):
    """A rank made no progress within the limit; the message names the rank and the stage."""


class _Progress:
    """The stage of this process, which holds one rank."""

    stage, since = "starting", time.monotonic()


def mark_progress(stage: str) -> None:
    """Starts a stage, and with it the time that the rank may spend there."""
    _Progress.stage, _Progress.since = stage, time.monotonic()


def run_with_watchdog(work: Callable[[], None], *, who: str, limit: float) -> None:
    """Runs `work` in a thread, and raises its errors in the calling thread.

    Args:
        work: calls `mark_progress` at each stage.
        who: name of the rank in the error, for example "rank 3 on node7".
        limit: most seconds in one stage.

    Raises:
        HangError: a stage took longer than the limit. Its thread still runs: the calling process must end.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    mark_progress("starting")
    thread = threading.Thread(target=run, name="work", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(min(_CHECK_SECONDS, limit / 4))
        if thread.is_alive() and time.monotonic() - _Progress.since > limit:
            raise HangError(
                f"{who} has made no progress for {limit:g} s: {_Progress.stage}. If this stage may take longer, "
                "raise cluster.hang_timeout; otherwise check that machine, and resume with --run.resume"
            )
    if errors:
        raise errors[0]
