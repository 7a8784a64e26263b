"""Whether Ray lets us in, found out within seconds.

A cluster that is gone keeps `ray.init` waiting for minutes, and one that refuses a token for twenty seconds,
after which the error does not say so: the reason is in what Ray logs meanwhile. So another process tries
first; it is watched, and ended as soon as its log tells.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ray

from pipeline.cluster import connection as cluster
from pipeline.doctor.finding import Finding

NAME = "Ray"
SECONDS = 60.0  # for a cluster that is far away or busy; one that refuses is told sooner
TRY = """\
import sys, ray
try:
    ray.init(address=sys.argv[1], logging_level="WARNING", log_to_driver=False)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
TOKEN_PLACES = "~/.ray/auth_token, RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"


class Trouble(NamedTuple):
    """Why a cluster cannot be used, and what to do."""

    told: str
    mend: str


def check_ray() -> list[Finding]:
    """Connects to the cluster of $RAY_ADDRESS, else starts Ray here, as a run would."""
    address = os.environ.get("RAY_ADDRESS")
    if address and not ray.is_initialized() and (trouble := try_to_connect(address)):
        return [Finding(NAME, False, f"at {address} {trouble.told}", trouble.mend)]
    try:
        cluster.connect()
    except ray.exceptions.AuthenticationError as error:
        trouble = trouble_of(str(error), os.environ) or Trouble("refuses", f"check {TOKEN_PLACES}")
        return [Finding(NAME, False, f"on this machine {trouble.told}", trouble.mend)]
    nodes, there = len(alive()), ray.cluster_resources()
    place = ray.get_runtime_context().gcs_address
    gpus = f"{there['GPU']:g} GPUs" if there.get("GPU") else "no GPU"
    return [
        Finding(
            NAME,
            True,
            f"{ray.__version__} at {place}: {nodes} node{'s' * (nodes > 1)}, {there.get('CPU', 0):g} CPUs, {gpus}",
        )
    ]


def try_to_connect(address: str, seconds: float = SECONDS) -> Trouble | None:
    """Connects to a cluster in a process of its own; None where that goes well.

    Args:
        address: `host:port`, `auto`, or `ray://host:port`.
        seconds: After which it is given up.
    """
    with tempfile.TemporaryDirectory(prefix="camtl-doctor-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as written:
            trying = subprocess.Popen(
                [sys.executable, "-c", TRY, address],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,  # so that it can be ended together with what it started
            )
        deadline = time.monotonic() + seconds
        try:
            while True:
                code = trying.poll()
                text = log.read_text(errors="replace")
                if code == 0:
                    return None
                if trouble := trouble_of(text, os.environ):
                    return trouble
                if code is not None:
                    last = (text.strip() or f"exit code {code}").splitlines()[-1]
                    return Trouble(f"cannot be reached ({last})", "check RAY_ADDRESS and that Ray runs there")
                if time.monotonic() > deadline:
                    return Trouble(
                        f"gives no answer in {seconds:g} s", "check RAY_ADDRESS, `ray status` and the network"
                    )
                time.sleep(0.1)
        finally:
            if trying.poll() is None:
                os.killpg(trying.pid, signal.SIGKILL)
                trying.wait()


def trouble_of(text: str, environment: Mapping[str, str]) -> Trouble | None:
    """What Ray's log or error says of a cluster that will not have us; None where it does not tell (yet).

    Args:
        text: All that Ray has written so far.
        environment: Of the process that tries; whether it sends a token is in `RAY_AUTH_MODE`.
    """
    same = f"the token that `ray start` ran with, in {TOKEN_PLACES}"
    if "no authentication token was found" in text:
        return Trouble("wants a token (RAY_AUTH_MODE=token) and none is here", f"give {same}")
    if "InvalidAuthToken" in text:
        if environment.get("RAY_AUTH_MODE") == "token":
            return Trouble("refuses our token", f"give {same}")
        return Trouble("asks for a token and got none", f"export RAY_AUTH_MODE=token and give {same}")
    if "Failed to connect to GCS at address" in text or "Could not find any running Ray" in text:
        return Trouble(
            "does not answer",
            "start it (ray start --head), correct RAY_ADDRESS, or unset it to start Ray here",
        )
    if "Version mismatch" in text:
        told = " ".join(text[text.index("Version mismatch") :].split())
        return Trouble(
            f"has other versions ({told})", "install the cluster's versions of Python and Ray here"
        )
    return None


def alive() -> list[dict[str, Any]]:
    """The nodes that are up, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]
