"""A run's checkpoints as they lie in a folder or a bucket: whole ones, damaged ones, what was left behind."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pyarrow.fs import FileSelector, FileSystem, FileType
from safetensors.torch import load
from torch import Tensor

from tests.faults.servers import file_system

MANIFEST, WEIGHTS = "manifest.json", "model/model.safetensors"
_NAME = re.compile(r"step-(\d{9,})-[0-9a-f]{8}")
_TEMPORARY = re.compile(r"(^|/)\.(writing|replaced|fetching)|\.(writing|fetching|tmp|partial)(/|$)")


@dataclass(frozen=True)
class Checkpoint:
    """A folder that is named like one.

    Attributes:
        path: in its file system.
        step: in its name.
        files: what lies in it, {path below the folder: bytes}.
    """

    fs: FileSystem
    path: str
    step: int
    files: dict[str, int]

    @property
    def size(self) -> int:
        """Of all its files."""
        return sum(self.files.values())

    @property
    def is_sealed(self) -> bool:
        """Whether it has a manifest, with which it counts."""
        return MANIFEST in self.files

    def read(self, name: str) -> bytes:
        """A file's content."""
        with self.fs.open_input_stream(f"{self.path}/{name}") as stream:
            content: bytes = stream.read()
        return content

    def weights(self) -> dict[str, Tensor]:
        """Of its model."""
        return load(self.read(WEIGHTS))

    def problems(self) -> Iterator[str]:
        """What its files have other than its manifest tells."""
        try:
            manifest = json.loads(self.read(MANIFEST))
        except ValueError:
            yield f"{self.path}: its manifest of {self.files[MANIFEST]} bytes cannot be read"
            return
        for name, told in manifest["files"].items():
            if name not in self.files:
                yield f"{self.path}: no {name}"
            elif hashlib.sha256(self.read(name)).hexdigest() != told["sha256"]:
                yield f"{self.path}: {name} is not what its manifest tells"

    def damage_weights(self, *, cut: bool) -> None:
        """Cuts the weights' file in half, or changes some of its bytes."""
        content = damaged(self.read(WEIGHTS), cut=cut)
        with self.fs.open_output_stream(f"{self.path}/{WEIGHTS}") as stream:
            stream.write(content)


def damaged(content: bytes, *, cut: bool) -> bytes:
    """The first half of a file's bytes, or all of them with a few in the middle changed."""
    middle = len(content) // 2
    if cut:
        return content[:middle]
    changed = bytes(255 - byte for byte in content[middle : middle + 16])
    return content[:middle] + changed + content[middle + 16 :]


def checkpoints(root: str) -> list[Checkpoint]:
    """Folders below `root` that are named like checkpoints, by step; `root` may have none.

    Args:
        root: a local folder or an URI.
    """
    fs, base = file_system(root)
    found: dict[str, dict[str, int]] = {}
    for info in fs.get_file_info(FileSelector(base, allow_not_found=True, recursive=True)):
        match = _NAME.search(info.path)
        if info.type == FileType.File and match and "/" in info.path[match.end() :]:
            found.setdefault(info.path[: match.end()], {})[info.path[match.end() + 1 :]] = info.size
    steps = {folder: int(_NAME.findall(folder)[-1]) for folder in found}
    return [
        Checkpoint(fs, folder, steps[folder], found[folder])
        for folder in sorted(found, key=lambda folder: (steps[folder], folder))
    ]


def temporary_files(root: str) -> list[str]:
    """What has a name of something that is being written, below a local folder or an URI."""
    fs, base = file_system(root)
    selector = FileSelector(base, allow_not_found=True, recursive=True)
    return [info.path for info in fs.get_file_info(selector) if _TEMPORARY.search(info.path)]


def contains(root: str, words: bytes) -> list[str]:
    """Files below a local folder or an URI in which these bytes occur."""
    fs, base = file_system(root)
    found = []
    for info in fs.get_file_info(FileSelector(base, allow_not_found=True, recursive=True)):
        if info.type == FileType.File:
            with fs.open_input_stream(info.path) as stream:
                if words in stream.read():
                    found.append(info.path)
    return found
