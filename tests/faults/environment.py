"""The environment of the scripted runs: a Ray of two nodes, an MLflow server, an S3 server, a small disk.

All of it belongs to this process alone: own ports, folders and processes.
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import transformers
from ray.cluster_utils import Cluster

from tests.conftest import save_tokenizer
from tests.faults.servers import CREDENTIALS, S3Server, free_port
from tests.mlflow_server import MlflowServer
from tests.toy import save_encoder

ROOT = Path(__file__).parents[2]
DISK_BYTES = 64 << 20
# Each node holds one worker, and the second also holds the tasks that fetch rows: losing it takes both.
HEAD_CPUS, SECOND_CPUS, CPUS_PER_WORKER = 2, 3, 1.6


class TwoNodes:
    """A Ray of two nodes on this machine; the second one can be lost and replaced."""

    def __init__(self, temp_dir: Path, head_cpus: int, second_cpus: int) -> None:
        """`temp_dir` gets Ray's logs and sockets, which need a short path."""
        head = {"num_cpus": head_cpus, "temp_dir": str(temp_dir)}
        head |= {"include_dashboard": True, "dashboard_port": free_port()}  # Ray Train's clean-up asks it
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self._second_cpus = second_cpus
        self.address: str = self.cluster.address
        self._second = self._add()
        self._next: Any = None

    def drain_second(self, seconds: int) -> None:
        """Notifies Ray that the second node will be preempted, as a cloud does.

        Its replacement starts at once, as an autoscaler's does.
        """
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", self.address]
        command += ["--node-id", self._second.node_id, "--deadline-remaining-seconds", str(seconds)]
        command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "taken back"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        self._next = self._add()

    def lose_second(self) -> None:
        """Kills the second node's raylet and with it all processes of the node."""
        self.cluster.remove_node(self._second, allow_graceful=False)

    def replace_second(self) -> None:
        """Starts a replacement, unless one runs, and waits until the cluster has it."""
        self._second, self._next = self._next or self._add(), None

    def _add(self) -> Any:
        return self.cluster.add_node(num_cpus=self._second_cpus)


class SmallDisk:
    """A file system in memory of a few megabytes.

    Raises:
        LookupError: It cannot be mounted: not root, or not permitted.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LookupError(f"no small disk: {done.stderr.strip()}")

    @property
    def free(self) -> int:
        """Free bytes."""
        return shutil.disk_usage(self.path).free

    def fill(self, leave: int) -> None:
        """Fills the disk but for some bytes."""
        (self.path / "filling").write_bytes(bytes(max(0, self.free - leave)))

    def make_room(self) -> None:
        """Reverts `fill`."""
        (self.path / "filling").unlink()

    def stop(self) -> None:
        """Unmounts the disk; its content is lost."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


class Environment:
    """Everything that a scripted run needs. `disk` is None where it cannot be mounted; `notes` say why."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, *cpus: int) -> None:
        self.folder = folder
        self.notes: list[str] = []
        for name in ("backbone", "ray", "mlflow"):
            (folder / name).mkdir()
        transformers.utils.logging.disable_progress_bar()
        save_encoder(folder / "backbone")
        self.backbone = save_tokenizer(folder / "backbone")
        self.s3 = S3Server(folder)
        stack.callback(self.s3.stop)
        self.mlflow = MlflowServer(folder / "mlflow")
        stack.callback(self.mlflow.stop)
        self.mlflow.start()
        self.disk: SmallDisk | None = None
        try:
            self.disk = SmallDisk(folder / "disk")
            stack.callback(self.disk.stop)
        except (LookupError, OSError) as error:
            self.notes.append(f"without faults of a full disk ({error})")
        self.nodes = TwoNodes(folder / "ray", *cpus)
        stack.callback(self.nodes.cluster.shutdown)


@contextlib.contextmanager
def open_environment(head_cpus: int = HEAD_CPUS, second_cpus: int = SECOND_CPUS) -> Iterator[Environment]:
    """Yields an environment in a temporary folder, and removes both at the end."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    variables = {
        **CREDENTIALS,
        "PYTHONPATH": str(ROOT),
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # every report waits for one
        "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5",
        "RAY_TMPDIR": str(folder),  # keeps the file that names this machine's Ray unchanged
        "RAY_memory_monitor_refresh_ms": "0",  # other processes may fill the machine's memory
        "OMP_NUM_THREADS": "1",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    with pytest.MonkeyPatch.context() as process, contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name, value in variables.items():  # of all processes started from here
            process.setenv(name, value)
        stack.callback(ray.shutdown)
        yield Environment(folder, stack, head_cpus, second_cpus)
