"""One trial: the very same training as `train_mtl.py`'s, in a process of its own on the sweep's node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune

from pipeline.config import Settings
from pipeline.experiments.parent_run import child
from pipeline.experiments.train import train
from pipeline.experiments.tune.space import Space, values_of, with_values
from pipeline.runs.results import RESULTS
from pipeline.sampling.ray_data import configure_ray_data

TRIALS = "trials"


@dataclass(frozen=True)
class Trial:
    """What all trials of a sweep have in common. Picklable.

    Attributes:
        base: settings that the drawn values are set in; its `run.output_dir` and `run.name` are the sweep's.
        space: what is drawn.
        parent: MLflow run of the sweep.
    """

    base: Settings
    space: Space
    parent: str

    def settings(self, drawn: Mapping[str, Any], name: str) -> Settings:
        """Of the trial of this name."""
        settings = with_values(self.base, values_of(self.space, drawn))
        folder = str(Path(self.base.run.output_dir) / self.base.run.name / TRIALS)
        run = replace(settings.run, output_dir=folder, name=name, resume=None, overwrite=False)
        return replace(settings, run=run)

    def __call__(self, config: dict[str, Any]) -> None:
        """Train, going on where an earlier try of the same trial ended, and report each evaluation."""
        configure_ray_data()
        name = str(tune.get_context().get_trial_id())
        settings = self.settings(config, name)
        run_dir = Path(settings.run.output_dir) / name
        if (run_dir / RESULTS).is_file():  # it had ended, and the sweep was lost before it heard of it
            tune.report(_final(json.loads((run_dir / RESULTS).read_text())))
            return
        log = run_dir.with_name(f"{name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)

        def show(line: str) -> None:
            with log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

        def scored(step: int, average: float, rows_trained: int) -> None:
            if step < steps:  # the last one is told with the results, when all is written
                tune.report({"step": step, "average": average, "rows_trained": rows_trained, "ended": False})

        steps = settings.train.max_steps or 0
        tags = {
            "mlflow.parentRunId": self.parent,
            "sweep": self.base.run.name,
            "trial": name,
            "status": "running",
        }
        results = train(child(settings), show, tags=tags, scored=scored)
        tune.report(_final(results))


def _final(results: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial that has ended reports."""
    return {
        "step": results["steps"],
        "average": results["average"],
        "rows_trained": results["rows_trained"],
        "parameters": results["parameters"]["total"],
        "seconds": results["seconds"],
        "ended": True,
    }
