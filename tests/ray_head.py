"""A second Ray on this machine that requires a token."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.servers import free_port


@contextmanager
def head_with_token() -> Iterator[tuple[str, str]]:
    """Yields (address, token) of a running head, and ends it with its processes."""
    token = secrets.token_hex(24)
    with tempfile.TemporaryDirectory(
        prefix="ray-", ignore_cleanup_errors=True
    ) as folder:  # sockets need short paths
        port = free_port()
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=1"]
        command += [f"--port={port}", f"--ray-client-server-port={free_port()}"]
        command += ["--include-dashboard=false", f"--temp-dir={folder}", "--disable-usage-stats"]
        command += ["--object-store-memory=80000000", "--dashboard-agent-listen-port=0"]
        environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        environment.pop("RAY_ADDRESS", None)
        log = Path(folder) / "head.log"
        with log.open("wb") as output:
            head = subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        try:
            deadline = time.monotonic() + 120
            while b"Ray runtime started" not in log.read_bytes():
                if head.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"ray start failed: {log.read_text()}")
                time.sleep(0.1)
            yield f"127.0.0.1:{port}", token
        finally:
            head.terminate()  # it ends its processes, which lead groups of their own
            try:
                head.wait(60)
            finally:
                if head.poll() is None:
                    os.killpg(head.pid, signal.SIGKILL)
