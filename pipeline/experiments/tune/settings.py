"""The settings of a sweep, beside those of the run that all its trials start from."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """What is searched, and for how long.

    Attributes:
        space: What is tried, by the settings' dotted names: {train.learning_rate: {loguniform: [3e-5, 3e-4]}}. Kinds
            are uniform, loguniform and randint (low, high), choice and grid (a list). A name without a dot stands
            for several settings at once: its options are {label: {setting: value}}.
        search: Draw at random (with every point of the grid), or let Optuna's TPE suggest.
        objectives: What is sought: average, and beside it rows_trained or parameters (as few as can be; optuna).
        max_trials: Most trials of the sweep.
        max_hours: Most hours of the sweep, all its resumptions together; null sets no bound.
        max_concurrent_trials: Trials at a time; null is what the cluster holds now.
        early_stopping: Stop what is behind at its evaluations (ASHA), or never.
        grace_steps: Steps before a trial may be stopped; null is the first evaluation.
        reduction_factor: ASHA lets one in so many go on at each rung, and rungs are so many times further apart.
        allow_changes: Go on (run.resume) though the space or other settings are not what they were: the search begins
            anew, and the trials that there are stay in the table.
        retries: How often a failed trial is tried again, from its last checkpoint.
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
