"""The parser: jsonargparse over the settings' dataclasses, with one-line messages in place of its own.

jsonargparse's messages show Python types over several lines, and it accepts a YAML section that is empty or written
twice. This module takes the setting and the value out of those messages, and checks the keys of a file first.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter

from jobs.cli.errors import did_you_mean, fail
from pipeline.config import Settings


def fields_of(sections: Mapping[str, type]) -> dict[str, Any]:
    """{section.field: type} of sections {name: dataclass}."""
    return {
        f"{section}.{name}": hint
        for section, kind in sections.items()
        for name, hint in get_type_hints(kind).items()
    }


SECTIONS: dict[str, type] = get_type_hints(Settings)
FIELDS = fields_of(SECTIONS)
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "null",
    tuple[str, ...]: "a list such as [cola,rte]",
    tuple[int, ...]: "a list such as [1,2,3]",
    tuple[int, int]: "[min, max]",
    dict[str, float]: "a mapping such as {cola: 3}",
    dict[str, Any]: "a mapping",
}


class SettingsParser(ArgumentParser):
    """Parses `--config file.yaml` and `--section.field value`; every error is one line and exit code 2.

    `extra` has further sections of a job, {name: dataclass}.
    """

    def __init__(self, description: str, examples: str, extra: Mapping[str, type] | None = None) -> None:
        self.sections = {**SECTIONS, **(extra or {})}
        self.fields = fields_of(self.sections)
        super().__init__(
            usage="%(prog)s [--config file.yaml] [--section.field value ...]",
            description=description,
            epilog=f"examples:\n{examples}",
            formatter_class=partial(_HelpFormatter, fields=self.fields),  # type: ignore[arg-type]  # any callable will do
            allow_abbrev=False,
        )
        self.add_argument("--config", action=_ConfigFile, help="YAML file of settings; later arguments win")
        for section, kind in self.sections.items():
            self.add_class_arguments(kind, section)
        for action in self._actions:
            if action.dest in self.sections:
                action.help = argparse.SUPPRESS  # `--train file.yaml`; --config serves all sections
            elif action.dest in self.fields and not action.choices:
                action.metavar = ""  # the help text says what a value looks like

    def settings(self, argv: Sequence[str]) -> tuple[Settings, dict[str, Any]]:
        """The settings and the job's further sections; only names and types are checked."""
        parsed = self.parse_args(list(argv))
        for name, hint in self.fields.items():
            # jsonargparse accepts a YAML null for every type.
            if parsed[name] is None and NoneType not in get_args(hint):
                fail(wrong_value(name, hint, "null"))
        values = {section: kind(**vars(parsed[section])) for section, kind in self.sections.items()}
        return Settings(**{section: values.pop(section) for section in SECTIONS}), values

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints one line in place of the usage text."""
        if message.startswith("unrecognized arguments: "):
            argument = message.removeprefix("unrecognized arguments: ").partition(" ")[0]
            if not argument.startswith("-"):
                fail(f"unexpected argument {argument!r}: write settings as --section.field value")
            name = argument.lstrip("-").split("=")[0]
            fail(f"unknown setting --{name}{did_you_mean(name, self.fields)}")
        name = next(iter(re.findall(r'Parser key "(\w+(?:\.\w+)?)"', message)), "")
        if name in self.sections:
            fail(f"--{name}: set one field at a time, as --{name}.field value, or use a file with --config")
        value = re.findall(r"(?:Got|Given) value: (.*)", message)
        if name in self.fields and value:
            fail(wrong_value(name, self.fields[name], value[-1]))
        fail(message.removeprefix("argument "))


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the line breaks of the examples and shows types in words."""

    def __init__(self, prog: str, fields: Mapping[str, Any]) -> None:
        super().__init__(prog, max_help_position=40)
        self._fields = fields

    def _get_help_string(self, action: argparse.Action) -> str:
        words = _expected(self._fields[action.dest]) if action.dest in self._fields else "%(type)s"
        return super()._get_help_string(action).replace("type: %(type)s, ", f"{words}; ")


class _ConfigFile(ActionConfigFile):
    """Checks a YAML file for mistakes that jsonargparse ignores or reports misleadingly."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Checks the file, then lets jsonargparse read it."""
        _check_names(values, parser.sections, parser.fields)
        super().__call__(parser, cfg, values, option_string)


def _check_names(path: str, sections: Mapping[str, type], fields: Mapping[str, Any]) -> None:
    try:
        text = Path(path).read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        yaml.safe_load(text)  # checks values too: impossible dates, language tags
    except OSError as error:
        fail(f"--config {path}: {error.strerror}")
    except UnicodeDecodeError:
        fail(f"--config {path}: not a text file in UTF-8")
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        fail(f"{path}:{mark.line + 1 if mark else 1}: not valid YAML: {problem or error}")
    except (ValueError, LookupError, AttributeError, RecursionError) as error:  # raised by PyYAML itself
        fail(f"{path}: not valid YAML: {error}")
    for section, line, body in _entries(root, path, "the file"):
        if section not in sections:
            # A setting without its section is a likelier mistake than a misspelt section.
            known = fields if any(name.endswith(f".{section}") for name in fields) else sections
            fail(f"{path}:{line}: unknown section {section!r}{did_you_mean(section, known)}")
        for field, line, _ in _entries(body, path, f"section {section!r}"):
            if (name := f"{section}.{field}") not in fields:
                fail(f"{path}:{line}: unknown setting {name}{did_you_mean(name, fields)}")


def _entries(node: yaml.Node | None, path: str, what: str) -> list[tuple[str, int, yaml.Node]]:
    """(key, line, value) of each entry of a YAML mapping."""
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1 if node else 1
        fail(f"{path}:{line}: {what} contains no settings; write 'name: value' lines")
    entries = [(str(key.value), key.start_mark.line + 1, value) for key, value in node.value]
    keys = [key for key, _, _ in entries]
    for index, (key, line, _) in enumerate(entries):
        if key in keys[:index]:
            fail(f"{path}:{line}: {key!r} is set twice in {what}")
    return entries


def wrong_value(name: str, hint: Any, value: str) -> str:
    """The error text for a value of the wrong type."""
    choices = [choice for part in _alternatives(hint) for choice in _choices(part)]
    return f"{name}: expected {_expected(hint)}, got {value!r}{did_you_mean(value, choices)}"


def _expected(hint: Any) -> str:
    return " or ".join(", ".join(_choices(part)) or _WORDS[part] for part in _alternatives(hint))


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _choices(hint: Any) -> tuple[str, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()
