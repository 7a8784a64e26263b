"""Layers named in a setting: by a word or as a range."""

import re
from collections.abc import Sequence


def layer_range(what: str, num_layers: int, *, setting: str, others: Sequence[str] = ()) -> range:
    """Numbers of the layers that `what` names, bottom first.

    Args:
        what: `none`, `all`, `bottom_half`, `top_half`, or a range such as `0-3`, both ends included.
            Of an odd number the middle layer is in the top half.
        num_layers: layers of the encoder.
        setting: what the error calls the setting.
        others: words that the setting knows beside these, for the error.

    Raises:
        ValueError: it is none of these, or the encoder lacks a layer of it.
    """
    half = num_layers // 2
    named = {
        "none": range(0),
        "all": range(num_layers),
        "bottom_half": range(half),
        "top_half": range(half, num_layers),
    }
    if what in named:
        return named[what]
    match = re.fullmatch(r"(\d+)-(\d+)", what)
    if match is None:
        raise ValueError(
            f"{setting}={what!r} is not known: use {', '.join([*named, *others])} or a range as 0-3"
        )
    first, last = int(match[1]), int(match[2])
    if not first <= last < num_layers:
        raise ValueError(f"{setting}={what!r}: the encoder's layers are 0-{num_layers - 1}")
    return range(first, last + 1)
