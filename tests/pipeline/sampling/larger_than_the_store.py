"""A process of its own, whose Ray has an object store smaller than a training set.

    python -m tests.pipeline.sampling.larger_than_the_store <pickled splits> <bytes of the store>

Fetches rounds of these prepared splits through Ray Data and prints as JSON how the rows compare with the
plans, whether the store spilled to disk, and the most bytes of rows that this process held at a time. A
row's first token is its number, and its `row_id` is that + 7.
"""

import json
import logging
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray._private.internal_api import memory_summary

from pipeline.data.preparation.prepared import PreparedSplit
from pipeline.sampling.plan import Mixture
from pipeline.sampling.policies import PolicyOptions
from pipeline.sampling.ray_data import configure_ray_data, feed_with_ray_data

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = 6


def fetch_rounds(splits: Sequence[PreparedSplit]) -> dict[str, Any]:
    """What differs from the plans, and how many rows of the last split were met."""
    mixture = Mixture(
        tasks=tuple(split.task for split in splits),
        sizes=tuple(split.rows for split in splits),
        policy="uniform",
        options=PolicyOptions(),
        candidates_per_step=200,
        round_steps=10,
        max_steps=10 * ROUNDS,
        seed=1,
        world_size=1,
    )
    fetch = feed_with_ray_data(splits, None)()
    cursors, wrong, met = np.zeros(len(splits), dtype=np.int64), 0, set()
    for number in range(ROUNDS):
        plan = mixture.plan([float("nan")] * len(splits), cursors.tolist(), 10 * number)
        steps = fetch(plan)
        rows = np.concatenate([step.row_ids for step in steps]) - 7
        first_tokens = np.concatenate([step.input_ids[step.offsets[:-1]] for step in steps])
        tasks = np.concatenate([step.task_ids for step in steps])
        wrong += int((rows != plan.row).sum() + (first_tokens != plan.row).sum() + (tasks != plan.task).sum())
        met |= set(rows[tasks == len(splits) - 1].tolist())
        cursors += plan.drawn
    return {"wrong": wrong, "met": len(met)}


def main() -> None:
    """Start Ray, fetch, tell."""
    splits = pickle.loads(Path(sys.argv[1]).read_bytes())
    ray.init(
        num_cpus=2,
        object_store_memory=int(sys.argv[2]),
        include_dashboard=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    configure_ray_data()
    found = fetch_rounds(splits)
    address = ray.get_runtime_context().gcs_address
    summary = memory_summary(address=address, stats_only=True)
    held = pa.default_memory_pool().max_memory()
    print(json.dumps({**found, "held": held, "spilled": "Spilled" in summary}))


if __name__ == "__main__":
    main()
