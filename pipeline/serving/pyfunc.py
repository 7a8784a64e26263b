"""A trained model as MLflow serves it: a table of texts in, a table of answers out.

MLflow loads the model by calling `_load_pyfunc` of this module, from a copy of the code that it keeps beside
the weights, so a serving machine needs the listed packages and not this project.
"""

import importlib.metadata
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import torch
from mlflow.entities import LoggedModel
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from transformers import AutoTokenizer

from camtl import CaMtlModel

CODE_PATHS = tuple(str(pathlib.Path(__file__).parents[2] / package) for package in ("camtl", "pipeline"))
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
    """Answers for rows of any of the model's tasks.

    Args:
        model_dir: Holds weights, configuration and tokenizer.
    """

    def __init__(self, model_dir: str) -> None:
        self.model = CaMtlModel.from_pretrained(model_dir).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(model_dir)

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Classifies or rates every row.

        Args:
            rows: Columns `task` and `text`, and `text_pair` for tasks on two texts.
            params: MLflow's; not used.

        Returns:
            In the order and with the index of `rows`: `label`, the name of the likeliest class (none for a
            regression task), and `score`, its probability (for a regression, the value in the task's units).

        Raises:
            ValueError: A row names a task that the model was not trained on, or one of another kind.
        """
        tasks = list(self.model.config.tasks)
        if unknown := sorted(set(rows["task"]) - set(tasks)):
            raise ValueError(f"the model knows no task {unknown[0]!r}; it knows {', '.join(tasks)}")
        labels = np.full(len(rows), None, dtype=object)
        scores = np.zeros(len(rows))
        for task in rows["task"].unique():
            where = np.flatnonzero(rows["task"] == task)
            for start in range(0, len(where), BATCH_SIZE):
                positions = where[start : start + BATCH_SIZE]
                labels[positions], scores[positions] = self._answer(task, rows.iloc[positions])
        return pd.DataFrame({"label": labels, "score": scores}, index=rows.index)

    @torch.inference_mode()
    def _answer(self, task: str, rows: pd.DataFrame) -> tuple[list[str | None], np.ndarray]:
        config = self.model.config
        head = config.head_spec(task)
        if head.kind not in SERVED:
            raise ValueError(
                f"task {task!r} is a {head.kind}, whose rows are more than a text or two: tables of texts are "
                f"answered for {' and '.join(SERVED)}"
            )
        pairs = rows.get("text_pair")
        if pairs is not None and pairs.notna().any() and pairs.isna().any():
            raise ValueError(f"task {task!r}: some rows have a text_pair and others have none")
        encoded = self.tokenizer(
            rows["text"].tolist(),
            pairs.tolist() if pairs is not None and pairs.notna().all() else None,
            truncation="longest_first",
            max_length=config.max_seq_length,
            padding="longest",
            return_token_type_ids=True,
            return_tensors="pt",
        )
        task_ids = torch.full((len(rows),), config.tasks.index(task), dtype=torch.long)
        output = self.model(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            token_type_ids=encoded["token_type_ids"],
            task_ids=task_ids,
        )
        logits = output.logits[task].float()
        if head.kind == "regression":
            return [None] * len(rows), logits[:, 0].numpy()
        best = logits.softmax(-1).max(-1)
        names = head.label_names or tuple(str(index) for index in range(head.num_labels))
        return [names[index] for index in best.indices.tolist()], best.values.numpy()


def save_pyfunc(model_dir: str, path: str, task_names: Sequence[str], logged: LoggedModel) -> None:
    """Writes a model folder in MLflow's format.

    Args:
        model_dir: Holds weights, configuration and tokenizer.
        path: Of the new folder.
        task_names: The tasks that the model serves.
        logged: The model's entry at the server.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*input example.*"
        )  # would run the model once more, to check it
        mlflow.pyfunc.save_model(
            path,
            loader_module=__name__,
            data_path=model_dir,
            code_paths=list(CODE_PATHS),
            signature=SIGNATURE,
            pip_requirements=_requirements(),  # otherwise MLflow starts a process to guess them
            metadata={"tasks": list(task_names)},
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                model_uuid=logged.model_id,
                run_id=logged.source_run_id,
                model_id=logged.model_id,
            ),
        )


def _requirements() -> list[str]:
    """What a served model needs, at the versions it was trained with."""
    packages = ("mlflow", "torch", "transformers", "safetensors", "numpy", "pandas")
    # A local part ("2.13.0+cpu") names a build that package indexes do not carry.
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in packages]


def _load_pyfunc(data_path: str) -> Predictor:
    return Predictor(data_path)
