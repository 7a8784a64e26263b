"""Tasks in YAML, with the lines of what they say; every scalar is text, and no key is given twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import yaml

from pipeline.errors import first_line


@dataclass(frozen=True)
class _Node:
    """The value of a key.

    Attributes:
        value: A text, a list of values or a dict of them.
        line: Line of the key.
        children: {key: node}, where the value is a dict.
    """

    value: Any
    line: int
    children: dict[str, _Node] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A task as a file has it: its name, the line of the name and its fields, told apart by type.

    What reads a field raises ValueError, with file, line, task and field, where the field holds something else.
    """

    path: str
    name: str
    line: int
    fields: dict[str, _Node]

    def located(self, message: str, field: str | None = None) -> str:
        """A message with the file and the line; what has them keeps them."""
        line = self.fields[field].line if field in self.fields else self.line
        return message if message.startswith(f"{self.path}:") else f"{self.path}:{line}: {message}"

    def fail(self, field: str, problem: str) -> NoReturn:
        """Raises ValueError about a field."""
        raise ValueError(self.located(f"task {self.name!r}, {field}: {problem}", field))

    def text(self, field: str, default: Any) -> Any:
        """A text, or the default where the field is left out."""
        if field not in self.fields:
            return default
        value = self.fields[field].value
        if not isinstance(value, str) or not value:
            self.fail(field, f"give a text, not {value!r}")
        return value

    def texts(self, field: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of texts; a text alone is a list of one."""
        value = self.fields[field].value if field in self.fields else list(default)
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(text, str) and text for text in found):
            self.fail(field, f"give a list of texts, not {value!r}")
        return tuple(found)

    def mapping(self, field: str, default: Mapping[str, str]) -> Mapping[str, str]:
        """Texts by name."""
        value = self.fields[field].value if field in self.fields else default
        if not isinstance(value, dict) or not all(isinstance(text, str) and text for text in value.values()):
            self.fail(field, f"give names and texts such as {{a: b}}, not {value!r}")
        return value

    def numbers(self, field: str, count: int) -> tuple[float, ...] | None:
        """As many numbers as asked for, or None where the field is left out."""
        if field not in self.fields:
            return None
        texts = self.texts(field)
        try:
            found = tuple(float(text) for text in texts)
        except ValueError:
            found = ()
        if len(found) != count or not all(map(isfinite, found)):
            self.fail(field, f"give {'a number' if count == 1 else f'{count} numbers'}, not {list(texts)}")
        return found


def read_entries(path: str) -> Iterator[Entry]:
    """The tasks of a file.

    Raises:
        ValueError: The file cannot be read, is no YAML, holds something else, or has a key twice.
    """
    try:
        root = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        tasks = _children(path, root) if isinstance(root, yaml.MappingNode) else None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8: save it as one") from error
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        raise ValueError(
            f"{path}:{mark.line + 1 if mark else 1}: not valid YAML: {problem or first_line(error)}"
        ) from error
    except RecursionError as error:
        raise ValueError(f"{path}: not valid YAML: it holds itself, or is nested too deeply") from error
    if tasks is None:
        raise ValueError(f"{path}:1: the file holds no tasks: write each as a name with fields below it")
    for name, node in tasks.items():
        if not isinstance(node.value, dict):
            raise ValueError(
                f"{path}:{node.line}: {name!r} has no fields: write them as 'name: value' below it"
            )
        yield Entry(path, name, node.line, node.children)


def _children(path: str, node: yaml.MappingNode) -> dict[str, _Node]:
    children: dict[str, _Node] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError(f"{path}:{line}: an entry begins with a list or a mapping: begin it with a name")
        if key.value in children:
            raise ValueError(f"{path}:{line}: {key.value!r} is given twice: keep one")
        own = _children(path, value) if isinstance(value, yaml.MappingNode) else {}
        children[key.value] = _Node(_plain(path, value), line, own)
    return children


def _plain(path: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {key: child.value for key, child in _children(path, node).items()}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(path, item) for item in node.value]
    return node.value
