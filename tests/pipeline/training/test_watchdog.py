"""A rank that hangs is found and named; a working one is left alone."""

import threading
import time

import pytest

from pipeline.training.watchdog import HangError, mark_progress, run_with_watchdog


def test_work_that_makes_progress_may_take_longer_than_the_limit() -> None:
    done = []

    def work() -> None:
        for step in range(6):
            mark_progress(f"step {step}")
            time.sleep(0.1)
        done.append(True)

    run_with_watchdog(work, who="rank 0", limit=0.4)
    assert done


def test_work_that_hangs_is_named_by_rank_and_stage() -> None:
    released = threading.Event()

    def work() -> None:
        mark_progress("evaluating after step 7")
        released.wait(30)

    with pytest.raises(
        HangError, match=r"^rank 3 has made no progress for 0.2 s: evaluating after step 7\..*$"
    ):
        run_with_watchdog(work, who="rank 3", limit=0.2)
    released.set()


def test_an_error_of_the_work_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        run_with_watchdog(lambda: print(1 // 0), who="rank 0", limit=5)
