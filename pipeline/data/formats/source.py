"""What formats read of source rows: columns, fields of structs and text templates, and errors that name them."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.data.formats.tokens import Ints

ID_COLUMNS = ("idx", "qid", "id", "guid")  # what sets call the id of a row


@dataclass(frozen=True)
class Origin:
    """How errors name a row.

    Attributes:
        task: Name of the task.
        name: File or data set.
        row_ids: Number of each row in its split: a range, or an array where only some rows are read.
    """

    task: str
    name: str
    row_ids: Sequence[int] | Ints

    def fail(self, index: int, problem: str) -> NoReturn:
        """Raises ValueError about the row of this index in the table."""
        raise ValueError(f"task {self.task!r}: {self.name}, row {self.row_ids[index]} {problem}")

    def of_items(self, row: Ints) -> Origin:
        """The same for items of lists, which lie in the rows of these indices."""
        return replace(self, row_ids=np.asarray(self.row_ids, np.int64)[row].tolist())


def read_column(table: pa.Table, name: str, origin: Origin) -> pa.Array:
    """A column [N]; `idx.question` is the field `question` of the struct column `idx`.

    Raises:
        ValueError: There is no such column or field.
    """
    head, *fields = [name] if name in table.column_names else name.split(".")
    known = table.column_names
    if head not in known:
        raise ValueError(
            f"task {origin.task!r}: {origin.name} has no column {head!r} (found: {', '.join(known)}): "
            "rename it or change the task's columns"
        )
    column = table[head]
    # Some pyarrow versions give a chunked array of one chunk where others give that chunk.
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    for field in fields:
        found = [child.name for child in array.type] if pa.types.is_struct(array.type) else []
        if field not in found:
            raise ValueError(
                f"task {origin.task!r}: column {head!r} of {origin.name} has no field {field!r} "
                f"(found: {', '.join(found) or 'none'}): change the task's columns"
            )
        array = pc.struct_field(array, field)
    return array


def read_texts(table: pa.Table, spec: str, origin: Origin) -> pa.Array:
    """Texts [N] of a column, or of a template such as `{premise} {question}`.

    Args:
        table: Source rows.
        spec: Name of a column, or a text with names of columns in braces; `{{` and `}}` are braces.
        origin: For error messages.

    Raises:
        ValueError: The template is not one, a column is missing or holds no text, or a text is missing.
    """
    if "{" not in spec and "}" not in spec:
        return _texts_of_column(table, spec, origin)
    pieces: list[pa.Array | pa.Scalar] = []
    for literal, name in template_parts(spec):
        if literal:
            pieces.append(pa.scalar(literal))
        if name:
            pieces.append(_texts_of_column(table, name, origin))
    return pc.binary_join_element_wise(*pieces, pa.scalar(""))


def template_parts(spec: str) -> list[tuple[str, str]]:
    """A template as (text, name of the column after it) pairs; the last name may be empty.

    Raises:
        ValueError: A brace is alone, a name is missing, or there is no name at all.
    """
    try:
        parts = list(string.Formatter().parse(spec))
    except ValueError as error:
        raise ValueError(f"template {spec!r} cannot be read ({error}): write {{column}}") from error
    if any(name == "" or described or conversion for _, name, described, conversion in parts) or not any(
        name for _, name, _, _ in parts
    ):
        raise ValueError(f"template {spec!r} cannot be read: name columns in braces, as in '{{text}}'")
    return [(literal, name or "") for literal, name, _, _ in parts]


def require_text(column: pa.Array, name: str, origin: Origin) -> pa.Array:
    """The texts as plain strings, once each of them is there and valid.

    Raises:
        ValueError: The column holds something else, or a text is missing or not UTF-8.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (is_text(kind) or pa.types.is_null(kind)):  # null: a column in which every row lacks it
        raise ValueError(f"task {origin.task!r}: column {name!r} of {origin.name} holds {kind}: give text")
    if column.null_count:
        origin.fail(first_true(column.is_null()), f"has no {name!r}: fill or remove the row")
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        for index in range(len(column)):
            try:
                column[index].as_py()
            except UnicodeDecodeError:
                origin.fail(index, f"has a {name!r} that is not UTF-8: convert the file")
        raise
    return column.cast(pa.string())


def read_text_lists(table: pa.Table, name: str, origin: Origin, *, may_lack: bool = False) -> pa.ListArray:
    """Lists of texts [N], as plain ones whose first offset is 0.

    Args:
        table: Source rows.
        name: The column.
        origin: For error messages.
        may_lack: Whether a row without a list has an empty one.

    Raises:
        ValueError: The column is missing or holds something else, or a list or a text is missing.
    """
    column = require_lists(read_column(table, name, origin), name, origin, may_lack=may_lack)
    lengths = pc.list_value_length(column).to_numpy()
    texts = require_text(column.flatten(), name, origin.of_items(np.repeat(np.arange(len(column)), lengths)))
    bounds = np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths, dtype=np.int32)])
    return pa.ListArray.from_arrays(pa.array(bounds), texts)


def require_lists(column: pa.Array, name: str, origin: Origin, *, may_lack: bool = False) -> pa.Array:
    """The lists [N] as plain ones, once the column is known to hold lists and each row to have one.

    Raises:
        ValueError: The column holds something else, or a list is missing.
    """
    kind = column.type
    if pa.types.is_null(kind) and may_lack:
        return pa.array([[]] * len(column), pa.list_(pa.string()))
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise ValueError(f"task {origin.task!r}: column {name!r} of {origin.name} holds {kind}: give lists")
    if column.null_count and not may_lack:
        origin.fail(first_true(column.is_null()), f"has no {name!r}: fill or remove the row")
    lists = column.cast(pa.list_(kind.value_type))
    return lists.fill_null(pa.scalar([], lists.type)) if lists.null_count else lists


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def first_true(mask: pa.Array) -> int:
    """Index of the first true value."""
    return int(np.argmax(mask.to_numpy(zero_copy_only=False)))


def id_hashes(table: pa.Table, name: str | None, origin: Origin) -> pa.UInt64Array:
    """The ids of N rows as stable 64-bit hashes; null for a row without one.

    Args:
        table: Source rows.
        name: The column; None takes the first of `ID_COLUMNS` that is there, if any.
        origin: For error messages.

    Raises:
        ValueError: The column that is named is missing.
    """
    name = name or next((known for known in ID_COLUMNS if known in table.column_names), None)
    if name is None:
        return pa.nulls(table.num_rows, pa.uint64())
    values = read_column(table, name, origin).to_pylist()
    digests = b"".join(blake2b(str(value).encode(), digest_size=8).digest() for value in values)
    absent = np.fromiter((value is None for value in values), np.bool_, len(values))
    return pa.array(np.frombuffer(digests, np.uint64), mask=absent)


def duplicate_ids(hashes: Sequence[NDArray[np.uint64]]) -> int:
    """How many rows have an id that an earlier row has too.

    Rows are told apart by their place in the split, so such rows stay and count each for itself. This
    is for the report: a set that was joined wrongly shows here.

    Args:
        hashes: Of `id_hashes`, in pieces, as the parts of a split give them.
    """
    ids = np.concatenate(hashes)
    return len(ids) - len(np.unique(ids))


def _texts_of_column(table: pa.Table, name: str, origin: Origin) -> pa.Array:
    return require_text(read_column(table, name, origin), name, origin)
