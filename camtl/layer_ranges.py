"""Settings that name layers, by a word or as a range."""

import re
from collections.abc import Sequence


def layer_range(value: str, num_layers: int, *, setting: str, other_words: Sequence[str] = ()) -> range:
    """Returns the layer numbers that a setting names, bottom first.

    Args:
        value: `none`, `all`, `bottom_half`, `top_half`, or a range such as `0-3`, both ends included.
            The middle layer of an odd number is in the top half.
        num_layers: layers of the encoder.
        setting: name of the setting, for the error.
        other_words: further values that the setting accepts, for the error.

    Raises:
        ValueError: `value` is none of these, or the encoder has no such layer.
    """
    half = num_layers // 2
    words = {
        "none": range(0),
        "all": range(num_layers),
        "bottom_half": range(half),
        "top_half": range(half, num_layers),
    }
    if value in words:
        return words[value]
    match = re.fullmatch(r"(\d+)-(\d+)", value)
    if match is None:
        known = ", ".join([*words, *other_words])
        raise ValueError(f"{setting}={value!r} is not known: use {known} or a range as 0-3")
    first, last = int(match[1]), int(match[2])
    if not first <= last < num_layers:
        raise ValueError(f"{setting}={value!r}: the encoder's layers are 0-{num_layers - 1}")
    return range(first, last + 1)
