"""Local folders and buckets behind one interface, PyArrow's file systems. An address is a local path or a URI."""

import pyarrow as pa
from pyarrow.fs import FileSystem, LocalFileSystem

from pipeline.errors import first_line


def is_uri(address: str) -> bool:
    """Whether the address is a URI and not a local path."""
    return "://" in address


def join_path(address: str, *parts: str) -> str:
    """Appends path segments; the query of a URI stays at the end."""
    base, mark, query = address.partition("?") if is_uri(address) else (address, "", "")
    return "/".join([base.rstrip("/"), *parts]) + mark + query


def last_part(address: str) -> str:
    """The last path segment."""
    return (address.partition("?")[0] if is_uri(address) else address).rstrip("/").rpartition("/")[2]


def open_filesystem(address: str) -> tuple[FileSystem, str]:
    """PyArrow's file system and the path in it; credentials come from the environment.

    Raises:
        ValueError: the kind of storage is unknown, or it cannot be reached.
    """
    if not is_uri(address):
        return LocalFileSystem(), address
    try:
        return FileSystem.from_uri(address)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"storage {address.partition('?')[0]} cannot be reached ({first_line(error)})"
        ) from error
