"""What a disturbed run has other than the undisturbed one: nothing, where nothing was lost."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from mlflow import MlflowClient
from safetensors.torch import load_file
from torch import Tensor

from tests.faults.stored import checkpoints, contains, temporary_files

Curves = dict[str, list[tuple[int, float]]]


def differences(found: Path, expected: Path, *, store: str, expected_store: str) -> Iterator[str]:
    """A line for each thing in which two runs' directories and checkpoints differ, or that should not be there.

    Args:
        found, expected: run directories.
        store, expected_store: where their checkpoints lie, folders or URIs.
    """
    if not (found / "results.json").is_file():
        yield "there is no results.json: the run has not ended"
        return
    for name in ("rows.parquet", "mix.parquet"):
        if not pq.read_table(found / name).equals(pq.read_table(expected / name)):
            yield f"{name} differs"
    left, right = (load_file(folder / "model" / "model.safetensors") for folder in (found, expected))
    yield from _differing(left, right, "the best step's")
    sealed, reference = (
        [one for one in checkpoints(root) if one.is_sealed] for root in (store, expected_store)
    )
    if not sealed or sealed[-1].step != reference[-1].step:
        yield f"the last step's checkpoint is not there: there are those of {[one.step for one in sealed]}"
    else:
        yield from _differing(sealed[-1].weights(), reference[-1].weights(), "the last step's")
    for checkpoint in sealed:
        yield from checkpoint.problems()
    for path in sorted({*temporary_files(str(found)), *temporary_files(store)}):
        yield f"{path} was left behind"


def unsealed(store: str) -> list[str]:
    """Folders of checkpoints without a manifest: they count for nothing, and take room."""
    return [one.path for one in checkpoints(store) if not one.is_sealed]


def _differing(left: dict[str, Tensor], right: dict[str, Tensor], whose: str) -> Iterator[str]:
    if set(left) != set(right):
        yield f"{whose} weights have other names"
        return
    names = [name for name in left if not left[name].equal(right[name])]
    if names:
        yield f"{whose} weights differ: {len(names)} of {len(left)}, {names[0]} first"


def curves(tracking_uri: str, run_dir: Path) -> tuple[str, Curves]:
    """An MLflow run's status and all values of all its metrics, {key: [(step, value)]} by step."""
    client, run_id = MlflowClient(tracking_uri), run_id_of(run_dir)
    run = client.get_run(run_id)
    found = {key: client.get_metric_history(run_id, key) for key in run.data.metrics}
    return run.info.status, {key: sorted((m.step, m.value) for m in found[key]) for key in found}


def run_id_of(run_dir: Path) -> str:
    """Of a run's MLflow run."""
    return (run_dir / ".mlflow_run_id").read_text().strip()


def curve_differences(found: Curves, expected: Curves, *, split_at: Collection[int] = ()) -> Iterator[str]:
    """A line for each curve that has a step twice, or other steps or values than the undisturbed run's.

    Values of speed (`perf/`) are those of the moment; their steps are compared.

    Args:
        found, expected: of the two runs.
        split_at: steps at which the disturbed run told what it had done although the other did not, for it saved a
            checkpoint there: two points, whose values are not compared, stand for one.
    """
    steps_of_all = sorted({step for points in expected.values() for step, _ in points})
    between = [step for step in split_at if step not in steps_of_all]
    halves = {*between, *(min((s for s in steps_of_all if s > step), default=step) for step in between)}
    for key, points in sorted(found.items()):
        steps = [step for step, _ in points]
        if len(set(steps)) != len(steps):
            yield f"MLflow's {key} has steps more than once: {steps}"
    for key, points in sorted(expected.items()):
        (here, here_split), (there, there_split) = (
            ([p for p in which if p[0] not in halves], [p for p in which if p[0] in halves])
            for which in (found.get(key, []), points)
        )
        steps, wanted = [step for step, _ in here], [step for step, _ in there]
        if sorted(set(steps)) != wanted or (there_split and not here_split):
            yield (
                f"MLflow's {key} has steps {[step for step, _ in found.get(key, [])]}, "
                f"not {[step for step, _ in points]}"
            )
        elif len(steps) == len(wanted) and not key.startswith("perf/") and here != there:
            yield f"MLflow's {key} has other values"


def shown_secrets(secret: str, folders: dict[str, str]) -> Iterator[str]:
    """A line for each file that shows a secret.

    Args:
        secret: that nothing may show.
        folders: {what it is: folder or URI}.
    """
    for what, folder in folders.items():
        for path in contains(folder, secret.encode()):
            yield f"{what}: {path} shows the storage's secret key"


def parameters(tracking_uri: str, run_dir: Path) -> dict[str, Any]:
    """Of a run's MLflow run, with its tags."""
    data = MlflowClient(tracking_uri).get_run(run_id_of(run_dir)).data
    return {**data.params, **data.tags}
