"""How a job refuses what it is given: one line, exit code 2, and nothing is left behind."""

import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest

from jobs.train_mtl import main


class ResourcesTakenError(Exception):
    """Raised in the place of reaching Ray: what is refused has to be refused before."""


def refusal(folder: Path, *arguments: str, job: Callable[[], None] = main) -> str:
    """The line with which a job refuses its command line.

    Args:
        folder: the current one, which holds all that the job may write; nothing is made in it.
        arguments: of the command line.
        job: what the command runs.
    """
    before = tree(folder)
    line = refusal_line(*arguments, job=job)
    assert tree(folder) == before, "something was made before the refusal"
    return line


def refusal_line(*arguments: str, job: Callable[[], None] = main) -> str:
    """As `refusal`, wherever the job may write."""
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
    """What follows `error: ` on the only line of stderr."""
    assert stderr.count("\n") == 1, stderr
    assert stderr.startswith("error: "), stderr
    return stderr.removeprefix("error: ").strip()


def tree(folder: Path) -> set[str]:
    """All files and folders below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
