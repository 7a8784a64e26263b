"""Texts as MLflow may have them: of the length and the letters that it takes, and without a password."""

import json
import re
from collections.abc import Mapping
from typing import Any

PARAMETER_LENGTH = 6000  # MLflow's limits
TAG_LENGTH = 8000
NAME_LENGTH = 250


def flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as MLflow parameters: `{"run": {"seed": 1}}` becomes `{"run.seed": "1"}`.

    Lists are written as JSON, passwords in URIs are masked, and what is longer than MLflow takes is cut.
    """
    flat: dict[str, str] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            text = json.dumps(value, default=str) if isinstance(value, (list, tuple, Mapping)) else str(value)
            flat[f"{prefix}{key}"] = shorten(redact(text), PARAMETER_LENGTH)
    return flat


def redact(text: str) -> str:
    """Masks the user and password of every URI in a text."""
    return re.sub(r"://[^/\s\"']*@", "://***@", text)


def shorten(text: str, length: int) -> str:
    """A text of at most `length` characters that says so where it was cut."""
    if len(text) <= length:
        return text
    mark = f"… ({len(text)} characters)"
    return text[: length - len(mark)] + mark


def allowed_name(key: str) -> str:
    """A name as MLflow allows it: one bad character would make it refuse a whole batch."""
    return re.sub(r"[^\w/.\- :]", "_", key)[:NAME_LENGTH]
