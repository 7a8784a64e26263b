"""Reads columns, struct fields, lists and text templates of source rows; errors name the task, file and row."""

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NoReturn, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.data.formats.encoding import Ints

ID_COLUMNS = ("idx", "qid", "id", "guid")  # usual names of a data set's id column


@dataclass(frozen=True)
class Origin:
    """How errors name a row.

    Attributes:
        task: Name of the task.
        name: File or data set.
        row_ids: Number of each row in its split: a range, or an array for a selection of rows.
    """

    task: str
    name: str
    row_ids: Sequence[int] | Ints

    def fail(self, index: int, problem: str) -> NoReturn:
        """Raises ValueError about the row with this index in the table."""
        raise ValueError(f"task {self.task!r}: {self.name}, row {self.row_ids[index]} {problem}")

    def fail_column(self, column: str, problem: str) -> NoReturn:
        """Raises ValueError about a column."""
        raise ValueError(f"task {self.task!r}: column {column!r} of {self.name} {problem}")

    def of_items(self, row: Ints) -> Self:
        """The origin of list items, whose rows have the indices `row`."""
        return replace(self, row_ids=np.asarray(self.row_ids, np.int64)[row].tolist())


@dataclass(frozen=True)
class SourceRows:
    """N source rows, and how errors name them. All methods raise ValueError for a missing or unsuitable column."""

    table: pa.Table
    origin: Origin

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.Array:
        """A column [N]; `idx.question` is the field `question` of the struct column `idx`."""
        columns, parts = self.table.column_names, name.split(".")
        heads = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
        head = next((head for head in heads if head in columns), parts[0])
        if head not in columns:
            raise ValueError(
                f"task {self.origin.task!r}: {self.origin.name} has no column {head!r} "
                f"(found: {', '.join(columns)}): rename it or change the task's columns"
            )
        column = self.table[head]
        # `combine_chunks` of a single chunk returns a chunked array in some pyarrow versions.
        array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        for field in name[len(head) :].split(".")[1:]:
            fields = field_names(array.type)
            if field not in fields:
                self.origin.fail_column(
                    head,
                    f"has no field {field!r} (found: {', '.join(fields) or 'none'}): change the task's columns",
                )
            array = pc.struct_field(array, field)
        return array

    def texts(self, spec: str) -> pa.Array:
        """Texts [N] of a column, or of a template such as `{premise} {question}`; none may be missing."""
        pieces = []
        for literal, name in template_parts(spec):
            pieces.append(pa.scalar(literal))
            if name:
                pieces.append(require_text(self.column(name), name, self.origin))
        return pc.binary_join_element_wise(*pieces, pa.scalar(""))

    def lists(self, name: str, *, may_lack: bool = False) -> pa.ListArray:
        """Lists [N] of any type.

        Args:
            name: The column.
            may_lack: A missing list is read as an empty one instead of raising an error.
        """
        column = self.column(name)
        kind = column.type
        if pa.types.is_null(kind) and may_lack:
            return pa.array([[]] * len(column), pa.list_(pa.string()))
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            self.origin.fail_column(name, f"holds {kind}: give lists")
        if column.null_count and not may_lack:
            self.origin.fail(column.is_null().index(True).as_py(), f"has no {name!r}: fill or remove the row")
        lists = column.cast(pa.list_(kind.value_type))
        return lists.fill_null(pa.scalar([], lists.type)) if lists.null_count else lists

    def text_lists(self, name: str, *, may_lack: bool = False) -> pa.ListArray:
        """Lists of texts [N] whose first offset is 0; arguments as in `lists`. No text may be missing."""
        lists = self.lists(name, may_lack=may_lack)
        lengths = pc.list_value_length(lists).to_numpy()
        origin = self.origin.of_items(np.repeat(np.arange(len(lists)), lengths))
        offsets = np.cumsum(np.append(0, lengths), dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, require_text(lists.flatten(), name, origin))

    def whole_numbers(self, name: str) -> Ints:
        """Integers [N], -1 where one is missing."""
        column = self.column(name)
        if not pa.types.is_integer(column.type):
            self.origin.fail_column(name, f"holds {column.type}: give whole numbers")
        return column.cast(pa.int64()).fill_null(-1).to_numpy()


def template_parts(spec: str) -> list[tuple[str, str]]:
    """A template or column name as (text, name of the column after it) pairs; the last name may be empty.

    Raises:
        ValueError: A brace has no partner, a name is empty, or the template names no column.
    """
    if "{" not in spec and "}" not in spec:
        return [("", spec)]
    try:
        parts = list(string.Formatter().parse(spec))
    except ValueError as error:
        raise ValueError(f"template {spec!r} cannot be read ({error}): write {{column}}") from error
    names = [name for _, name, _, _ in parts]
    if "" in names or not any(names) or any(described or conversion for _, _, described, conversion in parts):
        raise ValueError(f"template {spec!r} cannot be read: name columns in braces, as in '{{text}}'")
    return [(literal, name or "") for literal, name, _, _ in parts]


def require_text(column: pa.Array, name: str, origin: Origin) -> pa.Array:
    """Texts as plain strings.

    Raises:
        ValueError: The column holds something else, or a text is missing or not UTF-8.
    """
    kind = value_type(column)
    if not (is_text(kind) or pa.types.is_null(kind)):  # null: the column is empty in all rows
        origin.fail_column(name, f"holds {kind}: give text")
    if column.null_count:
        origin.fail(column.is_null().index(True).as_py(), f"has no {name!r}: fill or remove the row")
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


def value_type(column: pa.Array) -> pa.DataType:
    """The type of a column's values, also where it is a dictionary."""
    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def field_names(kind: pa.DataType) -> list[str]:
    """Names of a struct's fields; none for other types."""
    return [field.name for field in kind] if pa.types.is_struct(kind) else []


def id_hashes(table: pa.Table, name: str | None, origin: Origin) -> pa.UInt64Array:
    """The ids of N rows as stable 64-bit hashes; null for a row without an id.

    Without `name`, the column is the first of `ID_COLUMNS` that the table has, if any.

    Raises:
        ValueError: The named column is missing.
    """
    name = name or next((usual for usual in ID_COLUMNS if usual in table.column_names), None)
    if name is None:
        return pa.nulls(table.num_rows, pa.uint64())
    values = SourceRows(table, origin).column(name)
    digests = b"".join(blake2b(str(value).encode(), digest_size=8).digest() for value in values.to_pylist())
    return pa.array(np.frombuffer(digests, np.uint64), mask=values.is_null().to_numpy(zero_copy_only=False))


def duplicate_ids(hashes: Sequence[NDArray[np.uint64]]) -> int:
    """Number of rows whose id an earlier row has too; many of them suggest a wrongly joined data set.

    Rows are identified by their position in the split, so duplicates stay and count as rows of their own.

    Args:
        hashes: Results of `id_hashes`, one array for each part of a split.
    """
    ids = np.concatenate(hashes)
    return len(ids) - len(np.unique(ids))
