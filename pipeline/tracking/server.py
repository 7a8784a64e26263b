"""Reaching an MLflow server or database: within seconds, and without ever printing a password."""

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
    """Bounds MLflow's requests, which it would repeat for minutes, and keeps it from printing.

    What it prints are stack traces, and at a run's end the server's URI, password and all. It reads these
    variables at every request; its client has no arguments for them.

    Args:
        timeout: Seconds without an answer.
        retries: Further tries of a failed request.
    """
    wanted = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    before = {name: os.environ.get(name) for name in wanted}
    mlflow_logger = logging.getLogger("mlflow")
    level = mlflow_logger.level
    os.environ.update(wanted)
    mlflow_logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        mlflow_logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def refusing(tracking_uri: str) -> Iterator[None]:
    """Turns whatever goes wrong while a run is opened into one line that names the URI and the mend."""
    try:
        with request_limits(START_TIMEOUT, retries=1):
            yield
    except Exception as error:  # the client's, the database driver's or the operating system's
        reason, mend = reason_of(error, tracking_uri), _mend(error, tracking_uri)
        raise ValueError(f"MLflow at {redact(tracking_uri)} cannot be used ({reason}): {mend}") from None


def check_reachable(tracking_uri: str) -> None:
    """Finds out within seconds about a database that MLflow would try to open for a minute or more.

    Raises:
        OSError: Its host does not answer, or its folder cannot be made.
        sqlite3.Error: The SQLite file cannot be written.
        ValueError: The URI cannot be read.
    """
    if is_sqlite(tracking_uri):
        path = sqlite_path(tracking_uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=START_TIMEOUT)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # takes the write lock: a read-only file is found out
            connection.rollback()
        return
    uri = urlsplit(tracking_uri)
    port = uri.port or DATABASE_PORTS.get(uri.scheme.partition("+")[0])
    if uri.hostname and port and uri.scheme not in ("http", "https"):
        socket.create_connection((uri.hostname, port), timeout=START_TIMEOUT).close()


def is_sqlite(tracking_uri: str) -> bool:
    """Whether a tracking URI names an SQLite file."""
    return tracking_uri.partition(":")[0].partition("+")[0] == "sqlite"


def sqlite_path(tracking_uri: str) -> pathlib.Path:
    """The absolute path of an SQLite URI's file.

    Raises:
        ValueError: It names none.
    """
    path = make_url(tracking_uri).database
    if not path or path == ":memory:":
        raise ValueError("the URI names no file")
    return pathlib.Path(path).absolute()


def reason_of(error: Exception, tracking_uri: str) -> str:
    """The cause of an error in a few words, without credentials."""
    text = str(error) or type(error).__name__
    if found := re.search(r"\[Errno -?\d+\] ([^'\"()]+)", text):
        text = found[1]
    elif "timed out" in text or "timeout" in text.lower():
        text = "no answer in time"
    elif found := re.search(r"Caused by .*['\"]([^'\"]+)['\"]", text):  # the innermost of the client's errors
        text = found[1]
    password = ""
    with contextlib.suppress(ValueError):  # it may be the address that is wrong
        password = urlsplit(tracking_uri).password or ""
    for secret in {password, unquote(password)} - {""}:
        text = text.replace(secret, "***")
    return shorten(redact(text.strip().partition("\n")[0]), 200)


def _mend(error: Exception, tracking_uri: str) -> str:
    if isinstance(error, MlflowException) and error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return "set the run.tracking_uri that the run was started with"
    if isinstance(error, MlflowException) and re.search(r"\b40[13]\b", str(error)):
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if "was deleted" in str(error):
        return "restore it (mlflow experiments restore), or set another run.experiment"
    if is_sqlite(tracking_uri):
        return "give run.tracking_uri a file that can be written, like sqlite:////absolute/path/mlflow.db"
    return "start the server (mlflow server), or set run.tracking_uri to sqlite:///mlflow.db"
