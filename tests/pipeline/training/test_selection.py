"""The choice among candidates."""

import numpy as np
import pytest
import torch

from tests.toy import NAMES, make_job


@pytest.mark.parametrize(
    ("changes", "entropy", "tasks", "k", "expected"),
    [
        ({"copy_from": {}}, [0.1, 0.9, 0.0, 0.5, 0.8], [0, 1, 2, 0, 1], 3, [1, 3, 4]),
        # In the paper's pool the third regression row scores 0, as in the published code;
        ({"per_task_pool": True}, [0.4, 0.8, 0.0, 0.0, 0.0], [0, 0, 2, 2, 2], 4, [0, 1, 2, 3]),
        # otherwise it has the source's mean, which is above the least certain row.
        ({}, [0.4, 0.8, 0.0, 0.0, 0.0], [0, 0, 2, 2, 2], 3, [1, 3, 4]),
        ({"max_share_per_task": 0.5}, [0.9, 0.8, 0.7, 0.2, 0.1], [0, 0, 0, 1, 1], 4, [0, 1, 3, 4]),
        ({"max_share_per_task": (0.25, 0.75, 1.0)}, [0.9, 0.8, 0.7, 0.2, 0.1], [0, 0, 0, 1, 1], 3, [0, 3, 4]),
    ],
)
def test_the_most_uncertain_candidates_within_the_bounds_are_chosen(
    changes: dict[str, object], entropy: list[float], tasks: list[int], k: int, expected: list[int]
) -> None:
    selection = make_job("", [1] * len(NAMES), **changes).selection
    chosen = selection.choose(torch.tensor(entropy), np.asarray(tasks), k)
    assert sorted(chosen.tolist()) == expected
