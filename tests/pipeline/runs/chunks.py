"""Records of two tasks, for the tests of everything that reads them."""

from typing import Any

import numpy as np

from pipeline.runs.records import Records

TASKS = ("a", "b")


def make_records(
    first: int, last: int, *, rank: int = 0, resumed_at: int = 0, scores: dict[str, Any] | None = None
) -> Records:
    """Records of the steps `first` to `last`; a rank trains on one row a step, all ranks together on 8."""
    steps, count = np.arange(first, last + 1), last + 1 - first
    row_ids = steps * 10 + rank + 100 * resumed_at
    rows = {"step": steps, "rank": np.full(count, rank), "task": steps % 2, "row_id": row_ids}
    if rank > 0:
        return Records(resumed_at, first, last, 1.0, rows)
    mix = {
        "step": np.repeat(steps, 2),
        "task": np.tile([0, 1], count),
        "weight": np.tile([0.25, 0.75], count),
        "mean_uncertainty": np.tile([0.5, np.nan], count),
        "candidates": np.tile([4, 12], count),
        "trained": np.tile([6, 2], count),
    }
    summary = {
        "seconds": 2.0,
        "seconds_waited": 0.5,
        "tokens_computed": 400,
        "tokens_real": 300,
        "rows_scored": 16 * count,
        "rows_trained": 8 * count,
        "loss_sums": [12.0, 0.0],
        "loss_rows": [6, 0],
        "scores": scores,
    }
    return Records(resumed_at, first, last, 1.0, rows, mix=mix, summary=summary)
