"""Servers that a run leans on, started for a test, and what makes them go away and come back."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from pyarrow.fs import FileSystem

BUCKET = "bucket"
ACCESS_KEY = "AKIAOFNOACCOUNT"
SECRET_KEY = "a-secret-that-nothing-may-show"  # told to the server of the tests alone
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Returns once the condition holds.

    Raises:
        RuntimeError: It did not within the time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


class Gate:
    """A port before a server. Shut, it takes no connection and the ones there were are cut.

    For a server that keeps everything in memory this is how it goes down and comes back with what it held.
    """

    def __init__(self, port: int) -> None:
        """`port` is the server's, on this machine."""
        self._behind = port
        self._ends = set[socket.socket]()
        self._listener: socket.socket | None = None
        self.port = free_port()
        self.open()

    def open(self) -> None:
        """Takes connections."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        """Refuses new connections and cuts those that there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        for end in list(self._ends):
            _close(end)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._behind))
            except OSError:
                _close(client)
                continue
            self._ends |= {client, server}
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for end in (source, target):
            _close(end)
            self._ends.discard(end)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class S3Server:
    """An S3-compatible server (moto) with one bucket, behind a gate. It holds everything in memory."""

    def __init__(self, folder: pathlib.Path) -> None:
        """`folder` gets the server's log, which names every request."""
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with (folder / "s3.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/moto-api/"), "the S3 server answers")
        self.gate = Gate(port)
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
        ).close()

    def uri(self, path: str) -> str:
        """An URI below the bucket, as `cluster.storage_path` takes it."""
        return f"s3://{BUCKET}/{path}?scheme=http&endpoint_override=127.0.0.1:{self.gate.port}"

    def stop(self) -> None:
        """Ends the server; what it held is gone."""
        self.gate.shut()
        self._process.kill()
        self._process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


class Postgres:
    """A PostgreSQL with a database for MLflow, in a folder of its own that goes away with it.

    Raises:
        LookupError: `initdb` or `psycopg2` (pip install psycopg2-binary) is not there.
    """

    def __init__(self) -> None:
        try:
            import psycopg2  # type: ignore[import-untyped]  # noqa: F401
        except ImportError as error:
            raise LookupError("no psycopg2: pip install psycopg2-binary") from error
        if _postgres_program("initdb") is None:
            raise LookupError("no initdb: install PostgreSQL")
        # It refuses to run as root: then its files and processes are nobody's.
        self._user = "nobody" if os.getuid() == 0 else None
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="postgres-"))
        if self._user:
            shutil.chown(self._folder, self._user)
        port, data = free_port(), str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", "mlflow", "--auth=trust", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {self._folder}"
        self._run("pg_ctl", "-D", data, "-l", str(self._folder / "log"), "-w", "-o", options, "start")
        self._run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow")
        self.uri = f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/mlflow"

    def stop(self) -> None:
        """Ends it and removes its files."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(_postgres_program(program)), *arguments]
        subprocess.run(
            command, user=self._user, cwd=self._folder, check=True, stdout=subprocess.DEVNULL, timeout=120
        )


def _postgres_program(name: str) -> str | None:
    debian = pathlib.Path("/usr/lib/postgresql").glob("*/bin")
    folders = [os.environ.get("PATH", ""), *map(str, debian)]
    return shutil.which(name, path=os.pathsep.join(folders))


def file_system(uri: str) -> tuple[FileSystem, str]:
    """Where an URI or a local folder leads."""
    if "://" in uri:
        found: tuple[FileSystem, str] = FileSystem.from_uri(uri)
        return found
    return FileSystem.from_uri(pathlib.Path(uri).absolute().as_uri())
