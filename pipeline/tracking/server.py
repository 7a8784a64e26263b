"""Access to an MLflow server or database: fails within seconds, and never prints a password."""

import contextlib
import logging
import os
import pathlib
import re
import socket
import sqlite3
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url

from pipeline.tracking.texts import redact, shorten

START_TIMEOUT = 4  # seconds for a request at the start of a job; a server that is up answers in milliseconds
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


@contextlib.contextmanager
def request_limits(timeout: int, *, retries: int = 0) -> Iterator[None]:
    """Limits MLflow's requests, which it would retry for minutes, and silences its output.

    MLflow prints stack traces and, at the end of a run, the server's URI with its password. It reads these
    environment variables at every request; its client has no arguments for them. `timeout` is in seconds.
    """
    limits = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    previous = {name: os.environ[name] for name in limits if name in os.environ}
    mlflow_logger = logging.getLogger("mlflow")
    level = mlflow_logger.level
    os.environ.update(limits)
    mlflow_logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        mlflow_logger.setLevel(level)
        for name in limits:
            os.environ.pop(name, None)
        os.environ.update(previous)


@contextlib.contextmanager
def one_line_errors(tracking_uri: str) -> Iterator[None]:
    """Turns every error into a ValueError of one line with the URI, the cause and the remedy."""
    try:
        with request_limits(START_TIMEOUT, retries=1):
            yield
    except Exception as error:  # from the client, the database driver or the operating system
        cause, remedy = summarize_error(error, tracking_uri), _remedy(error, tracking_uri)
        raise ValueError(f"MLflow at {redact(tracking_uri)} cannot be used ({cause}): {remedy}") from None


def check_reachable(tracking_uri: str) -> None:
    """Checks within seconds that a database answers; MLflow itself would try for a minute or more.

    Raises:
        OSError: its host does not answer, or its folder cannot be created.
        sqlite3.Error: the SQLite file cannot be written.
        ValueError: the URI is malformed.
    """
    if is_sqlite(tracking_uri):
        path = sqlite_path(tracking_uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=START_TIMEOUT)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # takes the write lock, so it fails on a read-only file
            connection.rollback()
        return
    uri = urlsplit(tracking_uri)
    port = uri.port or DATABASE_PORTS.get(uri.scheme.partition("+")[0])
    if uri.hostname and port and uri.scheme not in ("http", "https"):
        socket.create_connection((uri.hostname, port), timeout=START_TIMEOUT).close()


def is_sqlite(tracking_uri: str) -> bool:
    """Whether the URI names an SQLite file."""
    return tracking_uri.partition(":")[0].partition("+")[0] == "sqlite"


def sqlite_path(tracking_uri: str) -> pathlib.Path:
    """The absolute path in an SQLite URI; raises ValueError without one."""
    path = make_url(tracking_uri).database
    if not path or path == ":memory:":
        raise ValueError("the URI names no file")
    return pathlib.Path(path).absolute()


def summarize_error(error: Exception, tracking_uri: str) -> str:
    """The cause of an error in a few words, without credentials."""
    text = str(error) or type(error).__name__
    if match := re.search(r"\[Errno -?\d+\] ([^'\"()]+)", text):
        text = match[1]
    elif "timed out" in text or "timeout" in text.lower():
        text = "no answer in time"
    elif match := re.search(r"Caused by .*['\"]([^'\"]+)['\"]", text):  # the innermost of the client's errors
        text = match[1]
    password = ""
    with contextlib.suppress(ValueError):  # the URI may be malformed
        password = urlsplit(tracking_uri).password or ""
    for secret in {password, unquote(password)} - {""}:
        text = text.replace(secret, "***")
    return shorten(redact(text.strip().partition("\n")[0]), 200)


def _remedy(error: Exception, tracking_uri: str) -> str:
    if isinstance(error, MlflowException) and error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return "set the run.tracking_uri with which the run was started"
    if isinstance(error, MlflowException) and re.search(r"\b40[13]\b", str(error)):
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if "was deleted" in str(error):
        return "restore it (mlflow experiments restore), or set another run.experiment"
    if is_sqlite(tracking_uri):
        return "set run.tracking_uri to a writable file, such as sqlite:////absolute/path/mlflow.db"
    return "start the server (mlflow server), or set run.tracking_uri to sqlite:///mlflow.db"
