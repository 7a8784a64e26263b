"""Reports on the rows of prepared data, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.data.preparation.prepared import PreparedTask


def describe(report: Mapping[str, int]) -> str:
    """Returns counts by status as text, such as "3 answer not found, 1 unlabelled"."""
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in report.items())


def remarks(split: Mapping[str, Any]) -> str:
    """Lists what a split's manifest has of rows left out, odd, cut or with repeated ids; may be empty."""
    left_out, repeated = split["source_rows"] - split["rows"], split["duplicate_ids"]
    parts = [
        f"{left_out:,} left out" if left_out else "",
        describe(split["report"]),
        f"{split['truncated']:,} cut short" if split["truncated"] else "",
        f"{repeated:,} with the id of an earlier row" if repeated else "",
    ]
    return "; ".join(filter(None, parts))


def report_lines(prepared: Mapping[str, PreparedTask]) -> list[str]:
    """Returns a line for every split that has remarks."""
    return [
        f"  {task}, {name}: {text} (of {split['source_rows']:,} rows)"
        for task, data in prepared.items()
        for name, split in data.manifest["splits"].items()
        if (text := remarks(split))
    ]
