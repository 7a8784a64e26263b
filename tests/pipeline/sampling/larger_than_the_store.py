"""A separate process whose Ray has an object store smaller than a training split.

    python -m tests.pipeline.sampling.larger_than_the_store <pickled splits> <bytes of the store>

Fetches rounds of prepared splits through Ray Data and prints as JSON: the differences from the plans, the distinct rows
of the last split, the most bytes that this process held, and whether the store spilled to disk. A row's first token
is its number, and its `row_id` is the number + 7.
"""

import json
import logging
import pickle
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
from ray._private.internal_api import memory_summary  # what `ray memory` prints

from camtl import TokenRows
from pipeline.sampling.ray_data import configure_ray_data, make_ray_data_fetch
from tests.pipeline.sampling.rows import make_mixture

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = 6


def main() -> None:
    """Starts Ray, fetches, prints."""
    splits = pickle.loads(Path(sys.argv[1]).read_bytes())
    ray.init(
        num_cpus=2,
        object_store_memory=int(sys.argv[2]),
        include_dashboard=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    configure_ray_data()
    mixture = make_mixture(
        tasks=tuple(split.task for split in splits),
        sizes=tuple(split.rows for split in splits),
        candidates_per_step=200,
        round_steps=10,
        max_steps=10 * ROUNDS,
    )
    fetch = make_ray_data_fetch(splits, None)
    cursors, wrong, distinct = np.zeros(len(splits), dtype=np.int64), 0, set[int]()
    for number in range(ROUNDS):
        plan = mixture.plan(np.ones(len(splits)), cursors.tolist(), 10 * number)
        rows = TokenRows.concatenate(fetch(plan))
        first_tokens = rows.input_ids[rows.offsets[:-1]]
        differences = (rows.row_ids - 7 != plan.row, first_tokens != plan.row, rows.task_ids != plan.task)
        wrong += sum(int(different.sum()) for different in differences)
        distinct |= set(plan.row[plan.task == len(splits) - 1].tolist())
        cursors += plan.drawn
    summary = memory_summary(address=ray.get_runtime_context().gcs_address, stats_only=True)
    held = pa.default_memory_pool().max_memory()
    figures = {"wrong": wrong, "rows": len(distinct), "held": held, "spilled": "Spilled" in summary}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
