"""Whether this process can connect to Ray, answered within seconds.

`ray.init` waits minutes for a cluster that is down, and 20 seconds for one that refuses the token; its
error does not name the token, only Ray's log does. So a subprocess connects first, and its output is read.
"""

import os
import signal
import subprocess
import sys
import threading

import ray

from pipeline.cluster import connection
from pipeline.doctor.finding import Finding
from pipeline.doctor.nodes import alive_nodes

NAME = "Ray"
SECONDS = 60.0  # for a cluster that is far away or busy
CONNECT = """\
import sys, ray
try:
    ray.init(address=sys.argv[1], logging_level="WARNING", log_to_driver=False)
except Exception as error:
    sys.exit(f"FAILED {type(error).__name__}: {error}")
"""
TOKEN = "the token that `ray start` ran with, in ~/.ray/auth_token, RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"


def check_ray() -> list[Finding]:
    """Connects to the cluster of $RAY_ADDRESS, or starts Ray here, as a run does."""
    address = os.environ.get("RAY_ADDRESS")
    if address and not ray.is_initialized() and (failure := try_to_connect(address)):
        return [failure]
    connection.connect()
    nodes, total = len(alive_nodes()), ray.cluster_resources()
    gpus = f"{total['GPU']:g} GPUs" if total.get("GPU") else "no GPU"
    message = f"{ray.__version__} at {ray.get_runtime_context().gcs_address}: {nodes} node{'s' * (nodes > 1)}"
    return [Finding(NAME, True, f"{message}, {total.get('CPU', 0):g} CPUs, {gpus}")]


def try_to_connect(address: str) -> Finding | None:
    """Connects to a cluster (`host:port`, `auto` or `ray://host:port`) in a subprocess. Returns None on success."""
    command, output, cause = [sys.executable, "-c", CONNECT, address], "", None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                output += line
                if cause := explain(output):
                    break
            else:
                process.wait()
        finally:
            timer.cancel()
            process.kill()
    if cause is None:
        if process.returncode == 0:
            return None
        if process.returncode == -signal.SIGKILL:  # by the timer
            cause = f"gives no answer in {SECONDS:g} s", "check RAY_ADDRESS, `ray status` and the network"
        else:
            reason = f"cannot be reached ({output.rpartition('FAILED ')[2].strip()})"
            cause = reason, "check RAY_ADDRESS, and that Ray runs there in the same version as here"
    return Finding(NAME, False, f"at {address} {cause[0]}", cause[1])


def explain(output: str) -> tuple[str, str] | None:
    """Returns why a cluster refuses the connection, and the remedy; None where Ray 2.60's log does not say (yet)."""
    if "no authentication token was found" in output:
        return "wants a token (RAY_AUTH_MODE=token) and none is set here", f"provide {TOKEN}"
    if "InvalidAuthToken" in output and os.environ.get("RAY_AUTH_MODE") == "token":
        return "refuses the token", f"provide {TOKEN}"
    if "InvalidAuthToken" in output:
        return "wants a token and got none", f"export RAY_AUTH_MODE=token and provide {TOKEN}"
    if "Failed to connect to GCS at address" in output:
        return (
            "does not answer",
            "start it (ray start --head), correct RAY_ADDRESS, or unset it to start Ray here",
        )
    return None
