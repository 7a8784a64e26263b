"""Text for MLflow: limited in length, of allowed characters, without passwords."""

import json
import re
from collections.abc import Mapping
from typing import Any

PARAMETER_LENGTH = 6000  # MLflow's limits
TAG_LENGTH = 8000
NAME_LENGTH = 250


def flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Turns nested settings into MLflow parameters: `{"run": {"seed": 1}}` becomes `{"run.seed": "1"}`.

    Lists become JSON, passwords in URIs are masked, long texts are cut to MLflow's limit.
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
    """Cuts a text to `length` characters, including a mark with the original length."""
    if len(text) <= length:
        return text
    mark = f"… ({len(text)} characters)"
    return text[: length - len(mark)] + mark


def sanitize_name(key: str) -> str:
    """Replaces characters that MLflow forbids: one forbidden name makes it refuse the complete batch."""
    return re.sub(r"[^\w/.\- :]", "_", key)[:NAME_LENGTH]
