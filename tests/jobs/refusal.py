"""Helpers for refusals: one line, exit code 2, and no file left behind."""

import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest

from jobs.train_mtl import main


class ResourcesTakenError(Exception):
    """Raised instead of connecting to Ray: a refusal must come earlier."""


def refusal(folder: Path, *arguments: str, job: Callable[[], None] = main) -> str:
    """The line with which a job refuses its command line.

    Args:
        folder: The current folder, where the job would write; it must stay unchanged.
        arguments: The command line.
        job: The job's main function.
    """
    before = tree(folder)
    line = refusal_line(*arguments, job=job)
    assert tree(folder) == before, "a file was written before the refusal"
    return line


def refusal_line(*arguments: str, job: Callable[[], None] = main) -> str:
    """Like `refusal`, without the check of the folder."""
    out, err = StringIO(), StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "argv", ["job", *arguments]),
        pytest.raises(SystemExit) as ended,
    ):
        job()
    assert ended.value.code == 2
    return one_line(err.getvalue())


def one_line(stderr: str) -> str:
    """The text after `error: ` on the only line of stderr."""
    assert stderr.count("\n") == 1, stderr
    assert stderr.startswith("error: "), stderr
    return stderr.removeprefix("error: ").strip()


def tree(folder: Path) -> set[str]:
    """All files and folders below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
