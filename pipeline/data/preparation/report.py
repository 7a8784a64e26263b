"""What became of the rows of prepared data, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.data.preparation.prepared import PreparedTask


def describe(report: Mapping[str, int]) -> str:
    """What was found in rows, in words: "3 answer not found, 1 unlabelled"."""
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in report.items())


def remarks(split: Mapping[str, Any]) -> str:
    """A split's manifest in words: rows left out, odd, cut, with repeated ids; empty where all is plain."""
    left_out = split["source_rows"] - split["rows"]
    parts = [f"{left_out:,} left out"] if left_out else []
    parts += [describe(split["report"])] if split["report"] else []
    parts += [f"{split['truncated']:,} cut short"] if split["truncated"] else []
    repeated = split["duplicate_ids"]
    parts += [f"{repeated:,} with the id of an earlier row"] if repeated else []
    return "; ".join(parts)


def report_lines(prepared: Mapping[str, PreparedTask]) -> list[str]:
    """A line for every split of which there is something to say."""
    return [
        f"  {task}, {name}: {said} (of {split['source_rows']:,} rows)"
        for task, found in prepared.items()
        for name, split in found.manifest["splits"].items()
        if (said := remarks(split))
    ]
