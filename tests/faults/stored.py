"""A run's checkpoints and other files in a folder or a bucket, read without the project's own store."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

MANIFEST, WEIGHTS = "manifest.json", "model/model.safetensors"
_NAME = re.compile(r"step-(\d{9,})-[0-9a-f]{8}")
_TEMPORARY = re.compile(r"(^|/)\.(writing|replaced|fetching)|\.(writing|fetching|tmp|partial)(/|$)")


@dataclass(frozen=True)
class CheckpointFolder:
    """A folder with the name of a checkpoint, and {path below the folder: bytes} of its files."""

    fs: FileSystem
    path: str
    step: int
    files: dict[str, int]

    @property
    def is_sealed(self) -> bool:
        """Whether it has a manifest, without which it is no checkpoint."""
        return MANIFEST in self.files

    def read(self, name: str) -> bytes:
        """Returns a file's content."""
        return _read(self.fs, f"{self.path}/{name}")

    def problems(self) -> Iterator[str]:
        """Yields a line for each file that differs from the manifest."""
        try:
            manifest = json.loads(self.read(MANIFEST))
        except ValueError:
            yield f"{self.path}: its manifest of {self.files[MANIFEST]} bytes cannot be read"
            return
        for name, entry in manifest["files"].items():
            if name not in self.files:
                yield f"{self.path}: no {name}"
            elif hashlib.sha256(self.read(name)).hexdigest() != entry["sha256"]:
                yield f"{self.path}: {name} differs from its manifest"

    def damage_weights(self, *, cut: bool) -> None:
        """Cuts the weights' file in half, or changes some of its bytes."""
        content = damage(self.read(WEIGHTS), cut=cut)
        with self.fs.open_output_stream(f"{self.path}/{WEIGHTS}") as stream:
            stream.write(content)


def damage(content: bytes, *, cut: bool) -> bytes:
    """Returns the first half of a file's content, or all of it with 16 bytes in the middle inverted."""
    middle = len(content) // 2
    if cut:
        return content[:middle]
    changed = bytes(255 - byte for byte in content[middle : middle + 16])
    return content[:middle] + changed + content[middle + 16 :]


def checkpoints(root: str) -> list[CheckpointFolder]:
    """Returns the folders below a local folder or URI that are named like checkpoints, by step."""
    fs, infos = _list(root)
    sizes: dict[tuple[int, str], dict[str, int]] = {}
    for info in infos:
        match = _NAME.search(info.path)
        if info.type == FileType.File and match and "/" in info.path[match.end() :]:
            step = int(_NAME.findall(info.path[: match.end()])[-1])
            files = sizes.setdefault((step, info.path[: match.end()]), {})
            files[info.path[match.end() + 1 :]] = info.size
    return [CheckpointFolder(fs, folder, step, files) for (step, folder), files in sorted(sizes.items())]


def temporary_files(root: str) -> list[str]:
    """Returns the paths below a local folder or URI that are named like a file being written."""
    return [info.path for info in _list(root)[1] if _TEMPORARY.search(info.path)]


def files_with(words: str, *roots: str) -> list[str]:
    """Returns the files below local folders or URIs that contain some words."""
    return [
        info.path
        for fs, infos in map(_list, roots)
        for info in infos
        if info.type == FileType.File and words.encode() in _read(fs, info.path)
    ]


def _list(root: str) -> tuple[FileSystem, list[FileInfo]]:
    fs, path = FileSystem.from_uri(root if "://" in root else Path(root).absolute().as_uri())
    return fs, fs.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))


def _read(fs: FileSystem, path: str) -> bytes:
    with fs.open_input_stream(path) as stream:
        content: bytes = stream.read()
    return content
