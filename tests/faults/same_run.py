"""Compares a disturbed run with an undisturbed one: no difference means that nothing was lost."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors.torch import load, load_file
from torch import Tensor

from tests.faults.stored import WEIGHTS, checkpoints, temporary_files

Curves = dict[str, list[tuple[int, float]]]


def differences(run_dir: Path, expected: Path, *, store: str, expected_store: str) -> Iterator[str]:
    """Yields a line for each difference of two runs' directories and checkpoints, and for each file left behind."""
    if not (run_dir / "results.json").is_file():
        yield "there is no results.json: the run has not ended"
        return
    for name in ("rows.parquet", "mix.parquet"):
        if not pq.read_table(run_dir / name).equals(pq.read_table(expected / name)):
            yield f"{name} differs"
    left, right = (load_file(folder / "model" / "model.safetensors") for folder in (run_dir, expected))
    yield from _weight_differences(left, right, "the best step's")
    sealed, reference = (
        [each for each in checkpoints(root) if each.is_sealed] for root in (store, expected_store)
    )
    if not sealed or sealed[-1].step != reference[-1].step:
        yield f"the last step's checkpoint is missing: there are those of {[each.step for each in sealed]}"
    else:
        left, right = (load(each[-1].read(WEIGHTS)) for each in (sealed, reference))
        yield from _weight_differences(left, right, "the last step's")
    for checkpoint in sealed:
        yield from checkpoint.problems()
    for path in sorted({*temporary_files(str(run_dir)), *temporary_files(store)}):
        yield f"{path} was left behind"


def _weight_differences(left: dict[str, Tensor], right: dict[str, Tensor], whose: str) -> Iterator[str]:
    if set(left) != set(right):
        yield f"{whose} weights have other names"
        return
    names = [name for name in left if not left[name].equal(right[name])]
    if names:
        yield f"{whose} weights differ: {len(names)} of {len(left)}, {names[0]} first"


def curves(tracking_uri: str, run_dir: Path) -> tuple[str, Curves]:
    """Returns the status of an MLflow run and {metric: [(step, value)] by step}."""
    client, run = MlflowClient(tracking_uri), _mlflow_run(tracking_uri, run_dir)
    histories = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    return run.info.status, {key: sorted((m.step, m.value) for m in histories[key]) for key in histories}


def parameters(tracking_uri: str, run_dir: Path) -> dict[str, Any]:
    """Returns the parameters and tags of a run's MLflow run."""
    data = _mlflow_run(tracking_uri, run_dir).data
    return {**data.params, **data.tags}


def _mlflow_run(tracking_uri: str, run_dir: Path) -> Run:
    return MlflowClient(tracking_uri).get_run((run_dir / ".mlflow_run_id").read_text().strip())


def curve_differences(points: Curves, expected: Curves, *, split_at: Collection[int] = ()) -> Iterator[str]:
    """Yields a line for each curve with a repeated step, or with other steps or values than the undisturbed run's.

    Of speed (`perf/`) only the steps are compared. `split_at` are the steps of the disturbed run's additional
    checkpoints: each splits a point of the undisturbed run into two, whose values are not compared.
    """
    steps_of_all = sorted({step for curve in expected.values() for step, _ in curve})
    between = [step for step in split_at if step not in steps_of_all]
    halves = {*between, *(min((s for s in steps_of_all if s > step), default=step) for step in between)}
    for key, curve in sorted(points.items()):
        steps = [step for step, _ in curve]
        if len(set(steps)) != len(steps):
            yield f"MLflow's {key} has steps more than once: {steps}"
    for key, expected_curve in sorted(expected.items()):
        curve = points.get(key, [])
        left, right = (
            [point for point in each if point[0] not in halves] for each in (curve, expected_curve)
        )
        steps, expected_steps = [step for step, _ in left], [step for step, _ in right]
        half_missing = len(right) < len(expected_curve) and len(left) == len(curve)
        if sorted(set(steps)) != expected_steps or half_missing:
            yield f"MLflow's {key} has steps {[s for s, _ in curve]}, not {[s for s, _ in expected_curve]}"
        elif len(steps) == len(expected_steps) and not key.startswith("perf/") and left != right:
            yield f"MLflow's {key} has other values"
