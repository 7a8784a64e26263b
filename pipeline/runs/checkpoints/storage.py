"""Folders of this machine and buckets, reached alike through PyArrow's file systems."""

import pyarrow as pa
from pyarrow.fs import FileSystem, LocalFileSystem

from pipeline.errors import first_line


def is_uri(place: str) -> bool:
    """Whether it names a bucket or another file system, and no local path."""
    return "://" in place


def join_path(place: str, *parts: str) -> str:
    """A folder below another one; both are local paths or URIs, whose query stays at the end."""
    base, mark, query = place.partition("?") if is_uri(place) else (place, "", "")
    return "/".join([base.rstrip("/"), *parts]) + mark + query


def last_part(place: str) -> str:
    """The last part of a path or URI."""
    return (place.partition("?")[0] if is_uri(place) else place).rstrip("/").rpartition("/")[2]


def open_filesystem(place: str) -> tuple[FileSystem, str]:
    """PyArrow's file system and the path in it. Credentials come from the environment.

    Raises:
        ValueError: there is no such kind of storage, or it cannot be reached.
    """
    if not is_uri(place):
        return LocalFileSystem(), place
    try:
        return FileSystem.from_uri(place)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"storage {place.partition('?')[0]} cannot be reached ({first_line(error)})"
        ) from error
