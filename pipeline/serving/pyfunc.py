"""A trained model in MLflow's format: a table of texts in, a table of answers out.

MLflow loads it through `_load_pyfunc` from the copy of the code that it stores beside the weights, so a serving
machine needs the listed packages but not this project.
"""

import importlib.metadata
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import torch
from mlflow.entities import LoggedModel
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from transformers import AutoTokenizer

from camtl import CaMtlModel

SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.string, "task"),
            ColSpec(DataType.string, "text"),
            ColSpec(DataType.string, "text_pair", required=False),
        ]
    ),
    outputs=Schema([ColSpec(DataType.string, "label", required=False), ColSpec(DataType.double, "score")]),
)
BATCH_SIZE = 32
SERVED = ("classification", "regression")


class Predictor:
    """Answers rows of any task of a model folder (weights, configuration, tokenizer)."""

    def __init__(self, model_dir: str) -> None:
        self.model = CaMtlModel.from_pretrained(model_dir).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(model_dir)

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Classifies or rates every row: columns `task` and `text`, and `text_pair` for tasks with two texts.

        MLflow's interface requires `params`.

        Returns:
            With the index of `rows`: `label`, the name of the most probable class (None for a regression task), and
            `score`, its probability (for a regression task the value in the task's units).

        Raises:
            ValueError: a row's task is unknown, or is neither classification nor regression.
        """
        tasks = list(self.model.config.tasks)
        if unknown := sorted(set(rows["task"]) - set(tasks)):
            raise ValueError(f"the model knows no task {unknown[0]!r}; it knows {', '.join(tasks)}")
        labels, scores = np.full(len(rows), None, dtype=object), np.zeros(len(rows))
        for task, positions in rows.groupby("task").indices.items():
            for start in range(0, len(positions), BATCH_SIZE):
                batch = positions[start : start + BATCH_SIZE]
                labels[batch], scores[batch] = self._answer(task, rows.iloc[batch])
        return pd.DataFrame({"label": labels, "score": scores}, index=rows.index)

    @torch.inference_mode()
    def _answer(self, task: str, rows: pd.DataFrame) -> tuple[list[str | None], np.ndarray]:
        config = self.model.config
        head = config.head_spec(task)
        if head.kind not in SERVED:
            raise ValueError(
                f"task {task!r} is a {head.kind} task, whose rows have other inputs than `text` and `text_pair`; "
                f"choose a {' or '.join(SERVED)} task"
            )
        pairs = rows["text_pair"].dropna().tolist() if "text_pair" in rows else []
        if 0 < len(pairs) < len(rows):
            raise ValueError(f"task {task!r}: some rows have a text_pair and others have none")
        encoded = self.tokenizer(
            rows["text"].tolist(),
            pairs or None,
            truncation="longest_first",
            max_length=config.max_seq_length,
            padding="longest",
            return_token_type_ids=True,
            return_tensors="pt",
        )
        task_ids = torch.full((len(rows),), config.tasks.index(task), dtype=torch.long)
        logits = self.model(**encoded, task_ids=task_ids).logits[task].float()
        if head.kind == "regression":
            return [None] * len(rows), logits[:, 0].numpy()
        best = logits.softmax(-1).max(-1)
        names = head.label_names or [str(index) for index in range(head.num_labels)]
        return [names[index] for index in best.indices.tolist()], best.values.numpy()


def save_pyfunc(model_dir: str, path: str, task_names: Sequence[str], logged: LoggedModel) -> None:
    """Writes a model folder into the new folder `path` in MLflow's format; `logged` is its entry at the server."""
    root = pathlib.Path(__file__).parents[2]
    packages = ("mlflow", "torch", "transformers", "safetensors", "numpy", "pandas")
    # Package indexes carry no builds with a local part ("2.13.0+cpu").
    versions = [importlib.metadata.version(name).partition("+")[0] for name in packages]
    with warnings.catch_warnings():  # an input example would make MLflow run the model
        warnings.filterwarnings("ignore", message=".*input example.*")
        mlflow.pyfunc.save_model(
            path,
            loader_module=__name__,
            data_path=model_dir,
            code_paths=[str(root / "camtl"), str(root / "pipeline")],
            signature=SIGNATURE,
            # Without requirements, MLflow starts a process to infer them.
            pip_requirements=[f"{name}=={version}" for name, version in zip(packages, versions, strict=True)],
            metadata={"tasks": list(task_names)},
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                model_uuid=logged.model_id,
                run_id=logged.source_run_id,
                model_id=logged.model_id,
            ),
        )


_load_pyfunc = Predictor  # MLflow calls it with the path of the model folder
