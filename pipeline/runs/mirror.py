"""A copy of a run directory's small files beside its checkpoints in storage: a run survives the loss of its driver.

    <storage path>/<run name>/run/config.yaml, .mlflow_run_id, events.jsonl, records/<last step>/…

Chunks of records are copied as they are written, the summary last: a chunk with a summary is complete.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyarrow.fs import FileSelector, LocalFileSystem, copy_files

from pipeline.runs.checkpoints.storage import is_uri, join_path, open_filesystem
from pipeline.runs.events import EVENTS
from pipeline.runs.records import CHUNKS, SUMMARY, list_chunks

MIRROR, RUN_ID = "run", ".mlflow_run_id"


def find_mirror(address: str) -> "Mirror | None":
    """The mirror in a run's folder in storage; None where the address is a local run directory.

    Raises ValueError if no run is stored at the URI, or if it cannot be reached.
    """
    mirror = Mirror(join_path(address, MIRROR))
    if is_uri(address):
        mirror.read(RUN_ID)
        return mirror
    return mirror if (Path(address) / MIRROR / RUN_ID).is_file() else None


@dataclass(frozen=True)
class Mirror:
    """The copy of one run directory; `root` is its folder or URI."""

    root: str

    def put(self, run_dir: Path, names: Sequence[str]) -> None:
        """Copies files of the run directory; `names` are paths in it."""
        fs, root = open_filesystem(self.root)
        for name in names:
            target = f"{root}/{name}"
            fs.create_dir(target.rpartition("/")[0])
            with fs.open_output_stream(target) as stream:
                stream.write((run_dir / name).read_bytes())

    def put_records(self, run_dir: Path) -> None:
        """Copies the last chunk and the events, and removes the chunks that it replaces."""
        fs, root = open_filesystem(self.root)
        local = list_chunks(run_dir)
        names = {chunk.name for chunk in local}
        for info in fs.get_file_info(FileSelector(f"{root}/{CHUNKS}", allow_not_found=True)):
            if info.base_name not in names:
                fs.delete_dir(info.path)
        files = sorted(local[-1].iterdir(), key=lambda path: path.name == SUMMARY)
        self.put(run_dir, [path.relative_to(run_dir).as_posix() for path in files])
        if (run_dir / EVENTS).is_file():
            self.put(run_dir, [EVENTS])

    def read(self, name: str) -> str:
        """The text of a file; raises ValueError if it does not exist or storage cannot be reached."""
        fs, root = open_filesystem(self.root)
        try:
            with fs.open_input_stream(f"{root}/{name}") as stream:
                return stream.read().decode()
        except OSError as error:
            raise ValueError(f"{self.root.partition('?')[0]} holds no run (it has no {name})") from error

    def fetch(self, run_dir: Path) -> None:
        """Copies all files but incomplete chunks into an empty run directory."""
        fs, root = open_filesystem(self.root)
        run_dir.mkdir(parents=True, exist_ok=True)
        copy_files(root, str(run_dir), source_filesystem=fs, destination_filesystem=LocalFileSystem())
        for chunk in list_chunks(run_dir):
            if not (chunk / SUMMARY).is_file():
                shutil.rmtree(chunk)
