"""Reads the tasks of a YAML file with the line of each field; all scalars are text, duplicate keys are errors."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import yaml

from pipeline.errors import first_line


@dataclass(frozen=True)
class Entry:
    """One task of a file: its name, its fields, and the line of each.

    The methods that read a field raise ValueError with file, line, task and field if it has the wrong type.
    """

    path: str
    name: str
    line: int
    fields: dict[str, Any]
    lines: dict[str, int]

    def located(self, message: str, field: str = "") -> str:
        """The message after file, line and task, as far as it does not name them already."""
        if message.startswith(f"{self.path}:"):
            return message
        task = "" if repr(self.name) in message else f"task {self.name!r}: "
        return f"{self.path}:{self.lines.get(field, self.line)}: {task}{message}"

    def fail(self, field: str, problem: str) -> NoReturn:
        """Raises ValueError about a field."""
        raise ValueError(self.located(f"task {self.name!r}, {field}: {problem}", field))

    def text(self, field: str, default: Any = None) -> Any:
        """Returns a text, or the default if the field is absent."""
        value = self.fields.get(field, default)
        if field in self.fields and not _is_text(value):
            self.fail(field, f"give a text, not {value!r}")
        return value

    def texts(self, field: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Returns a list of texts; a single text is a list of one."""
        value = self.fields.get(field, default)
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(map(_is_text, texts)):
            self.fail(field, f"give a list of texts, not {value!r}")
        return tuple(texts)

    def mapping(self, field: str, default: Mapping[str, str]) -> Mapping[str, str]:
        """Returns texts by name."""
        value = self.fields.get(field, default)
        if not isinstance(value, dict) or not all(map(_is_text, value.values())):
            self.fail(field, f"give names and texts such as {{a: b}}, not {value!r}")
        return value

    def numbers(self, field: str, count: int) -> tuple[float, ...] | None:
        """Returns `count` finite numbers, or None if the field is absent."""
        if field not in self.fields:
            return None
        texts = self.texts(field)
        try:
            numbers = tuple(map(float, texts))
        except ValueError:
            numbers = ()
        if len(numbers) != count or not all(map(isfinite, numbers)):
            self.fail(field, f"give {'a number' if count == 1 else f'{count} numbers'}, not {list(texts)}")
        return numbers


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


class _Loader(yaml.BaseLoader):
    """Reads every scalar as text and refuses duplicate keys, of which YAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            problem = "a key is a list or a mapping: use a name"
            if isinstance(key, yaml.ScalarNode):
                problem = f"{key.value!r} is given twice: keep one"
            if not isinstance(key, yaml.ScalarNode) or key.value in names:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            names.add(key.value)
        return super().construct_mapping(node, deep)


def read_entries(path: str) -> Iterator[Entry]:
    """Yields the tasks of a file.

    Raises:
        ValueError: The file cannot be read, is not YAML, is not a mapping of names to fields, or has duplicate keys.
    """
    try:
        loader = _Loader(Path(path).read_text(encoding="utf-8"))
        root = loader.get_single_node()
        tasks = {} if root is None else loader.construct_document(root)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8: save it as one") from error
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = mark.line + 1 if mark else 1
        raise ValueError(f"{path}:{line}: not valid YAML: {problem or first_line(error)}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not valid YAML: it is nested too deeply") from error
    if not isinstance(root, yaml.MappingNode):
        raise ValueError(f"{path}:1: the file contains no tasks: write each as a name with fields below it")
    for key, node in root.value:
        line = key.start_mark.line + 1
        if not isinstance(node, yaml.MappingNode):
            raise ValueError(f"{path}:{line}: {key.value!r} has no fields: write 'name: value' lines below")
        lines = {name.value: name.start_mark.line + 1 for name, _ in node.value}
        yield Entry(path, key.value, line, tasks[key.value], lines)
