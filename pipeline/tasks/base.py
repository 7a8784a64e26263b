"""What a task is: where its rows come from, what is read of them, predicted and measured."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from camtl.heads import HeadSpec


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of a run. Picklable, and all that the pipeline knows of it.

    Attributes:
        name: Name in settings, results and folders.
        dataset: Hub id of the data set; `embedded` for the suite that the project generates.
        config: The data set's configuration.
        text_columns: One or two columns; two are encoded as a pair.
        label_column: Class indices, or the values of a regression.
        head: What is predicted. It carries `label_names` too, so that a saved model knows them.
        label_names: Names of the classes in the order of their numbers; empty for a regression.
        metrics: Official metrics, names in `pipeline.tasks.metrics.METRICS`.
        train_split: Split that is trained on.
        eval_splits: (split, prefix of its metrics' names); of several, those that the source has are used.
        uncertainty_from: Task whose uncertainties stand in for this one's, which has none (a regression).
        description: One line for tables and model cards.
    """

    name: str
    dataset: str
    config: str
    text_columns: tuple[str, ...]
    head: HeadSpec
    metrics: tuple[str, ...]
    label_column: str = "label"
    label_names: tuple[str, ...] = ()
    train_split: str = "train"
    eval_splits: tuple[tuple[str, str], ...] = (("validation", ""),)
    uncertainty_from: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(
                f"task name {self.name!r}: use letters, digits, '_', '-' and '.' (it names folders)"
            )
        if len(self.text_columns) not in (1, 2):
            raise ValueError(f"task {self.name!r} has text_columns {self.text_columns}: give one or two")
        if not self.metrics or not self.eval_splits:
            raise ValueError(f"task {self.name!r} needs at least one metric and one evaluation split")
        if self.label_names and not self.head.label_names:
            object.__setattr__(self, "head", replace(self.head, label_names=self.label_names))
