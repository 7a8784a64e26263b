"""Where the scripted runs take place: a Ray of two nodes, an MLflow server, an S3 server, a small disk.

All of it is of this process alone: own ports, own folders, own processes. Whoever opens a place closes it.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import transformers
from ray.cluster_utils import Cluster

from tests.conftest import save_tokenizer
from tests.faults.servers import CREDENTIALS, Postgres, S3Server, free_port
from tests.mlflow_server import MlflowServer
from tests.toy import save_encoder

ROOT = Path(__file__).parents[2]
DISK_BYTES = 64 << 20
# One worker fits on each node, and what fetches rows fits beside the second: that node's end takes both.
HEAD_CPUS, SECOND_CPUS, CPUS_PER_WORKER = 2, 3, 1.6


class TwoNodes:
    """A Ray of two nodes on this machine; the second one can be lost and replaced."""

    def __init__(self, temp_dir: Path) -> None:
        """`temp_dir` gets Ray's logs and sockets, whose paths must be short."""
        head = {"num_cpus": HEAD_CPUS, "temp_dir": str(temp_dir)}
        head |= {"include_dashboard": True, "dashboard_port": free_port()}  # Ray Train's clean-up asks it
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self._cluster.address
        self._second = self._add()
        self._next: Any = None

    def drain_second(self, seconds: int) -> None:
        """Tells Ray that the second node will be taken away in so many seconds, as a cloud's notice does.

        The node that will take its place comes now, as an autoscaler's does.
        """
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", self.address]
        command += ["--node-id", self._second.node_id, "--deadline-remaining-seconds", str(seconds)]
        command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "taken back"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        self._next = self._add()

    def lose_second(self) -> None:
        """Kills the second node's raylet; what it ran dies with it."""
        self._cluster.remove_node(self._second, allow_graceful=False)

    def replace_second(self) -> None:
        """Starts another node in its place, unless there is one, and waits until the cluster has it."""
        self._second, self._next = self._next or self._add(), None

    def stop(self) -> None:
        """Ends all of it."""
        self._cluster.shutdown()

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=SECOND_CPUS)


class SmallDisk:
    """A file system in memory of a few megabytes, to be filled.

    Raises:
        LookupError: It cannot be mounted: not root, or not allowed.
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
        """Bytes that can still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int) -> None:
        """Leaves room for so many bytes."""
        with (self.path / "filling").open("wb") as file:
            file.write(bytes(max(0, self.free - leave)))

    def make_room(self) -> None:
        """Takes away what filled it."""
        (self.path / "filling").unlink()

    def stop(self) -> None:
        """Unmounts it; what it held is gone."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


class Place:
    """Everything that a scripted run needs around it.

    Attributes:
        folder: of all that is written.
        backbone: folder of a tiny encoder.
        nodes: the Ray cluster.
        mlflow, s3: servers.
        disk: None where nothing can be mounted.
        without: why a part is not there.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack, *, postgres: bool) -> None:
        self.folder = folder
        self.without: list[str] = []
        (folder / "backbone").mkdir()
        (folder / "ray").mkdir()
        transformers.utils.logging.disable_progress_bar()
        save_encoder(folder / "backbone")
        self.backbone = save_tokenizer(folder / "backbone")
        self.s3 = S3Server(folder)
        stack.callback(self.s3.stop)
        self.mlflow = self._mlflow(stack, postgres)
        self.disk = self._disk(stack)
        self.nodes = TwoNodes(folder / "ray")
        stack.callback(self.nodes.stop)

    def _mlflow(self, stack: contextlib.ExitStack, postgres: bool) -> MlflowServer:
        store, folder = None, self.folder / "mlflow"
        folder.mkdir()
        if postgres:
            try:
                database = Postgres()
                stack.callback(database.stop)
                store = database.uri
            except LookupError as error:
                self.without.append(f"PostgreSQL behind MLflow ({error}); SQLite in its place")
        server = MlflowServer(folder, store)
        stack.callback(server.stop)
        server.start()
        return server

    def _disk(self, stack: contextlib.ExitStack) -> SmallDisk | None:
        try:
            disk = SmallDisk(self.folder / "disk")
        except (LookupError, OSError) as error:
            self.without.append(f"faults of a full disk ({error})")
            return None
        stack.callback(disk.stop)
        return disk


@contextlib.contextmanager
def open_place(*, postgres: bool = False) -> Iterator[Place]:
    """A place in a temporary folder, both gone at the end.

    Args:
        postgres: whether MLflow keeps its runs in PostgreSQL, where that is installed.
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    changed = {
        **CREDENTIALS,
        "PYTHONPATH": str(ROOT),
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # every report waits for one
        "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5",
        "RAY_TMPDIR": str(folder),  # the file that tells which Ray runs on this machine stays what it was
        "RAY_memory_monitor_refresh_ms": "0",  # it would strike too, where others fill the machine's memory
        "OMP_NUM_THREADS": "1",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)  # of all processes started from here
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(ray.shutdown)
            yield Place(folder, stack, postgres=postgres)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        shutil.rmtree(folder, ignore_errors=True)
