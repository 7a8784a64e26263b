"""One trial: the same training as `train_mtl.py`'s, in a process of its own on the sweep's node."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune

from pipeline.config import Settings, with_values
from pipeline.experiments.parent_run import resume_child
from pipeline.experiments.train import train
from pipeline.experiments.tune.space import Space, values_of
from pipeline.runs.results import RESULTS
from pipeline.sampling.ray_data import configure_ray_data

TRIALS = "trials"


@dataclass(frozen=True)
class TrialTrainable:
    """What all trials of a sweep share. Picklable.

    Attributes:
        base: Settings that the drawn values are set in; its `run.output_dir` and `run.name` are the sweep's.
        space: Search space.
        parent: MLflow run of the sweep.
    """

    base: Settings
    space: Space
    parent: str

    def train(self, config: dict[str, Any]) -> None:
        """Trains one trial from its last checkpoint, if it has one, and reports each evaluation to Ray Tune.

        `config` has `id` and `drawn`, as `SweepSearch` suggests them.
        """
        configure_ray_data()
        name, base = config["id"], self.base
        run_dir = Path(base.run.output_dir) / base.run.name / TRIALS / name
        settings = with_values(base, values_of(self.space, config["drawn"]))
        run = replace(settings.run, output_dir=str(run_dir.parent), name=name, resume=None, overwrite=False)
        settings = replace(settings, run=run)
        if (run_dir / RESULTS).is_file():  # it finished, and the sweep was killed before it knew
            tune.report(_final(json.loads((run_dir / RESULTS).read_text())))
            return
        log = run_dir.with_name(f"{name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)

        def show(line: str) -> None:
            with log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

        def report_score(step: int, average: float, rows_trained: int) -> None:
            # The last one is reported once the results are written.
            if step < (settings.train.max_steps or 0):
                tune.report({"step": step, "average": average, "rows_trained": rows_trained, "ended": False})

        tags = {"sweep": base.run.name, "trial": name, "status": "running", "mlflow.parentRunId": self.parent}
        tune.report(_final(train(resume_child(settings), show, tags=tags, scored=report_score)))


def _final(results: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a finished trial reports."""
    final = {name: results[name] for name in ("average", "rows_trained", "seconds")}
    return {**final, "step": results["steps"], "parameters": results["parameters"]["total"], "ended": True}
