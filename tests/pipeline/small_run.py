"""Settings of a run that takes seconds, for tests of complete runs and their parts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import (
    ClusterSettings,
    DataSettings,
    ModelSettings,
    RunSettings,
    SamplerSettings,
    Settings,
    TrainSettings,
)

TASKS = ("sentiment", "entailment", "similarity")
STEPS, BATCH, TRAIN_ROWS = 11, 8, 60
EVALUATED = (5, 10, STEPS)
REPORTED = (2, 3, 4, 5, 6, 8, 9, 10, STEPS)  # ends of rounds, checkpoints and evaluations


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        home: Folder of the prepared rows and MLflow's database.
        run_dir: The run directory.
        results: The return value of `train`.
        lines: The lines that `train` printed.
    """

    home: Path
    run_dir: Path
    results: dict[str, Any]
    lines: list[str]


def make_settings(folder: Path, backbone: str, **sections: dict[str, Any]) -> Settings:
    """A run of 11 steps in rounds of 3 on 3 embedded tasks, changed by `sections`."""
    settings = Settings(
        run=RunSettings(
            name="run", output_dir=str(folder / "runs"), seed=3, tracking_uri=f"sqlite:///{folder}/ml.db"
        ),
        data=DataSettings(
            tasks=TASKS,
            max_seq_length=32,
            max_train_rows=TRAIN_ROWS,
            max_eval_rows=20,
            prepared_dir=str(folder / "prepared"),
        ),
        model=ModelSettings(backbone=backbone),
        sampler=SamplerSettings(round_steps=3),
        train=TrainSettings(
            batch_size=BATCH, max_steps=STEPS, eval_every=5, checkpoint_every=2, precision="fp32"
        ),
        cluster=ClusterSettings(num_workers=2, cpus_per_worker=0.5, use_gpu=False),
    )
    changed = {name: replace(getattr(settings, name), **fields) for name, fields in sections.items()}
    return replace(settings, **changed)
