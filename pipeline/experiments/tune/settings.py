"""The settings of a sweep, beside those of the run that all its trials start from."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """What is searched, and for how long.

    Attributes:
        space: Settings to search, by dotted name: {train.learning_rate: {loguniform: [3e-5, 3e-4]}}. Kinds are
            uniform, loguniform and randint (low, high), choice and grid (a list). A name without a dot sets several
            settings at once: its options are {label: {setting: value}}.
        search: random draws (with every point of a grid), or suggestions of Optuna's TPE.
        objectives: average, and optionally rows_trained or parameters, which are minimised (search optuna).
        max_trials: Most trials of the sweep.
        max_hours: Most hours of the sweep, all its sessions together; null means no limit.
        max_concurrent_trials: Trials at a time; null means as many as the cluster holds at the start.
        early_stopping: asha stops trials that are behind at their evaluations; none stops no trial.
        grace_steps: Steps before a trial may be stopped; null means the first evaluation.
        reduction_factor: ASHA continues one trial in this many at each rung, and rungs are this factor apart.
        allow_changes: Allow run.resume with another space or other settings: the search starts anew, and earlier
            trials stay in the table.
        retries: Retries of a failed trial, each from its last checkpoint.
    """

    space: dict[str, Any] = field(default_factory=dict)
    search: Literal["random", "optuna"] = "random"
    objectives: tuple[str, ...] = ("average",)
    max_trials: int = 16
    max_hours: float | None = None
    max_concurrent_trials: int | None = None
    early_stopping: Literal["asha", "none"] = "asha"
    grace_steps: int | None = None
    reduction_factor: int = 3
    retries: int = 1
    allow_changes: bool = False
