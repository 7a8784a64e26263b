"""An S3-compatible server for tests, and a gate that makes a server unreachable and reachable again."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

BUCKET = "bucket"
SECRET_KEY = "a-secret-that-nothing-may-show"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAOFNOACCOUNT",
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port() -> int:
    """Returns a port on which no process listens, above those from 10002 to 19999 that Ray gives its workers."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        if port > 19999:
            return port


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Returns once the condition holds.

    Raises:
        RuntimeError: It did not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


class Gate:
    """A port in front of a server. A shut gate refuses connections and cuts the existing ones.

    It simulates an outage of a server that keeps its content in memory only.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._sockets = set[socket.socket]()
        self._listener: socket.socket | None = None
        self.port = free_port()
        self.open()

    def open(self) -> None:
        """Accepts connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Refuses new connections and cuts the existing ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        for each in list(self._sockets):
            _close(each)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                _close(client)
                continue
            self._sockets |= {client, server}
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for each in (source, target):
            _close(each)
            self._sockets.discard(each)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class S3Server:
    """An S3-compatible server (moto) with one bucket in memory, behind a gate."""

    def __init__(self, folder: pathlib.Path) -> None:
        """`folder` gets the server's log."""
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with (folder / "s3.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/moto-api/"), "the S3 server answers")
        self.gate = Gate(port)
        bucket = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
        urllib.request.urlopen(bucket).close()

    def uri(self, path: str) -> str:
        """Returns a URI in the bucket for `cluster.storage_path`."""
        return f"s3://{BUCKET}/{path}?scheme=http&endpoint_override=127.0.0.1:{self.gate.port}"

    def stop(self) -> None:
        """Ends the server, and with it the bucket."""
        self.gate.shut()
        self._process.kill()
        self._process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
