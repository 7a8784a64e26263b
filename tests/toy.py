"""A small CA-MTL for tests: random encoders, rows of three kinds of tasks, and a training job."""

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, AutoModel

from camtl import CaMtlConfig, CaMtlModel, HeadSpec, TokenRows
from camtl.token_rows import UNMARKED
from pipeline.data.preparation.prepared import PreparedSplit
from pipeline.data.preparation.schema import SCHEMA
from pipeline.sampling.batches import to_token_rows
from pipeline.sampling.fetch import fetch_rows
from pipeline.sampling.plan import Mixture
from pipeline.sampling.policies import PolicyOptions
from pipeline.tasks.base import Task
from pipeline.training.job import TrainJob
from pipeline.training.selection import Selection
from tests.prepared_rows import single_encodings

VOCABULARY = 60
MAX_SEQ_LENGTH = 16
ENCODER: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
SIZES: dict[str, Any] = {
    name: ENCODER[name] for name in ENCODER if name.endswith(("size", "layers", "heads"))
}
WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
ROBERTA = {**SIZES, **WITHOUT_DROPOUT, "max_position_embeddings": 34, "type_vocab_size": 1, "pad_token_id": 1}
# A small encoder of every supported family; ModernBERT's has global and local layers, with windows shorter than rows.
_ENCODERS: dict[str, dict[str, Any]] = {
    "bert": ENCODER,
    "electra": {**SIZES, **WITHOUT_DROPOUT, "embedding_size": 24, "max_position_embeddings": 32},
    "modernbert": {**SIZES, "num_hidden_layers": 4, "local_attention": 8, "max_position_embeddings": 32}
    | {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
}
ENCODERS = {family: {**encoder, "model_type": family} for family, encoder in _ENCODERS.items()}
HEADS = {
    "three": HeadSpec(num_labels=3),
    "two": HeadSpec(num_labels=2),
    "score": HeadSpec(kind="regression", num_labels=1, label_range=(0, 5)),
}
TASKS = tuple(
    Task(
        name=name,
        dataset="toy",
        config=name,
        text_columns=("sentence",),
        head=head,
        metrics=("pearson",) if head.kind == "regression" else ("accuracy",),
        uncertainty_from="three" if head.kind == "regression" else None,
    )
    for name, head in HEADS.items()
)
NAMES = tuple(HEADS)


def make_config(variant: str = "base", **changes: Any) -> CaMtlConfig:
    """Three tasks on the small encoder."""
    fields: dict[str, Any] = {
        "variant": variant,
        "tasks": list(NAMES),
        "heads": HEADS,
        "max_seq_length": MAX_SEQ_LENGTH,
        "backbone_config": dict(ENCODER),
    }
    return CaMtlConfig(**{**fields, **changes})


def make_model(variant: str = "base", *, seed: int = 0, **changes: Any) -> CaMtlModel:
    """A model in evaluation mode with random weights, so that no term is 0."""
    model = CaMtlModel(make_config(variant, **changes))
    randomise(model, seed)
    return model.eval()


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Draws every parameter from a normal distribution; a norm's weight around 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
            if name.lower().endswith("norm.weight"):
                parameter.add_(1.0)


def make_rows(lengths: Sequence[int], task_ids: Sequence[int], seed: int = 0) -> TokenRows:
    """Random tokens with these lengths and tasks, and random labels of the tasks."""
    random = np.random.default_rng(seed)
    tokens = sum(lengths)
    tasks = np.asarray(task_ids, dtype=np.int64)
    specs = [HEADS[NAMES[task]] for task in tasks]
    labels = [
        random.uniform(0, 5) if spec.kind == "regression" else random.integers(spec.num_labels)
        for spec in specs
    ]
    return TokenRows(
        input_ids=random.integers(5, VOCABULARY, tokens),
        token_type_ids=random.integers(0, 2, tokens),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        task_ids=tasks,
        labels=np.asarray(labels, dtype=np.float32),
        row_ids=np.arange(len(tasks)),
    )


def assert_same_rows(left: TokenRows, right: TokenRows) -> None:
    """Asserts equal values and types of all rows."""
    for name in ("input_ids", "token_type_ids", "offsets", "task_ids", "labels", "row_ids"):
        values, expected = getattr(left, name), getattr(right, name)
        np.testing.assert_array_equal(values, expected, err_msg=name)
        assert values.dtype == expected.dtype, name


def padded(rows: TokenRows, width: int | None = None) -> dict[str, Tensor]:
    """Pads rows to a width (default: the longest row) and returns the model's arguments."""
    width = width or int(rows.lengths.max())
    shape = (len(rows), width)
    arrays = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    arrays["token_marks"] = np.full(shape, UNMARKED)
    for row, (begin, end) in enumerate(pairwise(rows.offsets)):
        arrays["attention_mask"][row, : end - begin] = 1
        for name in ("input_ids", "token_type_ids", "token_marks"):
            arrays[name][row, : end - begin] = getattr(rows, name)[begin:end]
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    return {**tensors, "task_ids": torch.tensor(rows.task_ids)}


def gradients(model: CaMtlModel) -> dict[str, Tensor]:
    """Copies the gradients of all parameters that have one."""
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def make_table(task: int, rows: int, seed: int = 0) -> pa.Table:
    """Short prepared rows of a task, whose label follows from the first token."""
    random = np.random.default_rng([task, rows, seed])
    spec = HEADS[NAMES[task]]
    tokens = [
        random.integers(5, VOCABULARY, random.integers(3, MAX_SEQ_LENGTH)).tolist() for _ in range(rows)
    ]
    values = [row[0] - 5 for row in tokens]
    labels = [value % 6 * 1.0 if spec.kind == "regression" else value % spec.num_labels for value in values]
    input_ids = pa.array(tokens, SCHEMA.field("input_ids").type)
    types = pa.array([[0] * len(row) for row in tokens], SCHEMA.field("token_type_ids").type)
    return single_encodings(random.permutation(rows) + 100, input_ids, types, labels)


def make_split(table: pa.Table, folder: Path, *, part_rows: int, row_group_rows: int) -> PreparedSplit:
    """Writes a table as the files of a prepared split in `folder`/train."""
    (folder / "train").mkdir(parents=True)
    parts = [table.slice(start, part_rows) for start in range(0, table.num_rows, part_rows)]
    files = [str(folder / "train" / f"part-{number:05d}.parquet") for number in range(len(parts))]
    for part, file in zip(parts, files, strict=True):
        pq.write_table(part, file, row_group_size=row_group_rows, write_page_checksum=True)
    tokens = pc.sum(pc.list_value_length(table["input_ids"])).as_py()
    rows = tuple(part.num_rows for part in parts)
    return PreparedSplit("toy", "train", table.num_rows, tokens, tuple(files), rows)


def rows_of(tables: Sequence[pa.Table], task: NDArray[np.int64], row: NDArray[np.int64]) -> TokenRows:
    """The rows at these indices of several tasks' tables."""
    return to_token_rows(fetch_rows(dict(enumerate(tables)), task, row))


def save_encoder(folder: Path) -> None:
    """Writes the random encoder as a pretrained one."""
    torch.manual_seed(7)
    AutoModel.from_config(AutoConfig.for_model(**ENCODER)).save_pretrained(folder)


def make_job(backbone: str, sizes: Sequence[int], **changes: Any) -> TrainJob:
    """A short job on the toy tasks; `changes` are fields of the job, its mixture or its selection."""

    def changes_of(kind: type) -> dict[str, Any]:
        names = {field.name for field in fields(kind)} & set(changes)
        return {name: changes.pop(name) for name in names}

    mixture = Mixture(
        tasks=NAMES,
        sizes=tuple(sizes),
        policy="uncertainty",
        options=PolicyOptions(),
        candidates_per_step=16,
        round_steps=3,
        max_steps=8,
        seed=3,
        world_size=1,
    )
    selection = Selection(
        by_uncertainty=True, per_task_pool=False, copy_from={2: 0}, max_share_per_task=None, dropout=False
    )
    job = TrainJob(
        backbone=backbone,
        tokenizer=backbone,
        model={"variant": "base", "tasks": list(NAMES), "heads": HEADS, "max_seq_length": MAX_SEQ_LENGTH},
        freeze="embeddings",
        tasks=TASKS,
        mixture=replace(mixture, **changes_of(Mixture)),
        selection=replace(selection, **changes_of(Selection)),
        smoothing=0.5,
        batch_size=8,
        gradient_accumulation=1,
        gradient_checkpointing=False,
        compile=False,
        learning_rate=1e-3,
        new_parameters_learning_rate=2e-3,
        warmup_proportion=0.1,
        weight_decay=0.01,
        max_grad_norm=1.0,
        precision="fp32",
        eval_every=None,
        checkpoint_every=None,
    )
    return replace(job, **changes)
