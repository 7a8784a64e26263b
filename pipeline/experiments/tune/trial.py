"""One trial: the same training as `train_mtl.py`'s, in a process of its own on the sweep's node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune

from pipeline.config import Settings
from pipeline.experiments.parent_run import resume_child
from pipeline.experiments.train import train
from pipeline.experiments.tune.space import Space, values_of, with_values
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

    def settings(self, drawn: Mapping[str, Any], name: str) -> Settings:
        """Returns the settings of the trial of this name."""
        settings = with_values(self.base, values_of(self.space, drawn))
        folder = str(Path(self.base.run.output_dir) / self.base.run.name / TRIALS)
        run = replace(settings.run, output_dir=folder, name=name, resume=None, overwrite=False)
        return replace(settings, run=run)

    def train(self, config: dict[str, Any]) -> None:
        """Trains one trial from its last checkpoint, if it has one, and reports each evaluation to Ray Tune.

        Args:
            config: `id` and `drawn`, as `SweepSearch` suggests them.
        """
        configure_ray_data()
        name = config["id"]
        settings = self.settings(config["drawn"], name)
        run_dir = Path(settings.run.output_dir) / name
        if (run_dir / RESULTS).is_file():  # it finished, and the sweep was killed before it knew
            tune.report(_final(json.loads((run_dir / RESULTS).read_text())))
            return
        log = run_dir.with_name(f"{name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)

        def show(line: str) -> None:
            with log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

        def report_score(step: int, average: float, rows_trained: int) -> None:
            if step < (
                settings.train.max_steps or 0
            ):  # the last one is reported once the results are written
                tune.report({"step": step, "average": average, "rows_trained": rows_trained, "ended": False})

        tags = {"sweep": self.base.run.name, "trial": name, "status": "running"}
        tags["mlflow.parentRunId"] = self.parent
        tune.report(_final(train(resume_child(settings), show, tags=tags, scored=report_score)))


def _final(results: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a finished trial reports."""
    final = {name: results[name] for name in ("average", "rows_trained", "seconds")}
    return {**final, "step": results["steps"], "parameters": results["parameters"]["total"], "ended": True}
