"""A copy of a run directory's small files beside its checkpoints in storage, so that a run outlives its driver.

    <storage path>/<run name>/run/config.yaml, .mlflow_run_id, events.jsonl, records/<last step>/…

Chunks of records are copied as they are written; of a chunk the summary comes last, so what has one is whole.
"""

from collections.abc import Sequence
from pathlib import Path

from pyarrow.fs import FileSelector, FileType

from pipeline.runs.checkpoints.storage import is_uri, join_path, open_filesystem
from pipeline.runs.events import EVENTS
from pipeline.runs.records import CHUNKS, SUMMARY, list_chunks

MIRROR, RUN_ID = "run", ".mlflow_run_id"


def find_mirror(place: str) -> "Mirror | None":
    """The copy that a run's folder in storage holds; None where the place is a run directory itself.

    Raises:
        ValueError: an address where no run was stored, or that cannot be reached.
    """
    mirror = Mirror(join_path(place, MIRROR))
    if is_uri(place):
        mirror.read(RUN_ID)
        return mirror
    return mirror if (Path(place) / MIRROR / RUN_ID).is_file() else None


class Mirror:
    """The copy of one run directory. Picklable."""

    def __init__(self, root: str) -> None:
        """`root`: folder or URI of the copy."""
        self.root = root

    def put(self, run_dir: Path, names: Sequence[str]) -> None:
        """Copy files of the run directory, by their names in it."""
        fs, root = open_filesystem(self.root)
        for name in names:
            place = f"{root}/{name}"
            fs.create_dir(place.rpartition("/")[0])
            with fs.open_output_stream(place) as stream:
                stream.write((run_dir / name).read_bytes())

    def put_records(self, run_dir: Path) -> None:
        """Copy the last chunk, and remove those that it replaced."""
        fs, root = open_filesystem(self.root)
        here = [chunk.name for chunk in list_chunks(run_dir)]
        for info in fs.get_file_info(FileSelector(f"{root}/{CHUNKS}", allow_not_found=True)):
            if info.base_name not in here:
                fs.delete_dir(info.path)
        files = sorted((run_dir / CHUNKS / here[-1]).iterdir(), key=lambda path: path.name == SUMMARY)
        self.put(run_dir, [path.relative_to(run_dir).as_posix() for path in files])
        if (run_dir / EVENTS).is_file():
            self.put(run_dir, [EVENTS])

    def read(self, name: str) -> str:
        """A file's text.

        Raises:
            ValueError: it is not there, or storage cannot be reached.
        """
        fs, root = open_filesystem(self.root)
        try:
            with fs.open_input_stream(f"{root}/{name}") as stream:
                content: bytes = stream.read()
        except OSError as error:
            raise ValueError(f"{self.root.partition('?')[0]} holds no run (it has no {name})") from error
        return content.decode()

    def fetch(self, run_dir: Path) -> None:
        """Write the copy into an empty run directory: whole chunks, and the other files."""
        fs, root = open_filesystem(self.root)
        files = [
            info.path.removeprefix(root).lstrip("/")
            for info in fs.get_file_info(FileSelector(root, recursive=True))
            if info.type == FileType.File
        ]
        whole = {name.rpartition("/")[0] for name in files if name.endswith(f"/{SUMMARY}")}
        for name in files:
            if name.startswith(f"{CHUNKS}/") and name.rpartition("/")[0] not in whole:
                continue
            place = run_dir / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with fs.open_input_stream(f"{root}/{name}") as stream:
                place.write_bytes(stream.read())
