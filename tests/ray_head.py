"""A second Ray on this machine that asks for a token: a head of its own, beside the one that tests share."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def head_with_token() -> Iterator[tuple[str, str]]:
    """(address, token) of a running head; it and what it started are ended with the context."""
    token = secrets.token_hex(24)
    # A short path: Ray's sockets lie below it, and their names may not be long.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        address = f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=1"]
        command += [f"--port={address.rpartition(':')[2]}", f"--ray-client-server-port={free_port()}"]
        command += ["--include-dashboard=false", f"--temp-dir={folder}", "--disable-usage-stats"]
        command += ["--object-store-memory=80000000", "--dashboard-agent-listen-port=0"]
        environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        environment.pop("RAY_ADDRESS", None)
        log = Path(folder) / "head.log"
        with log.open("wb") as written:
            head = subprocess.Popen(
                command, env=environment, stdout=written, stderr=written, start_new_session=True
            )
        try:
            deadline = time.monotonic() + 120
            while b"Ray runtime started" not in log.read_bytes():
                if head.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"ray start failed: {log.read_text()}")
                time.sleep(0.1)
            yield address, token
        finally:
            head.terminate()  # it ends its processes, which lead groups of their own
            try:
                head.wait(60)
            finally:
                if head.poll() is None:
                    os.killpg(head.pid, signal.SIGKILL)


def free_port() -> int:
    """A port that nobody listens on, beyond those that Ray gives to its workers (10002 to 19999)."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port > 19999:
            return port
