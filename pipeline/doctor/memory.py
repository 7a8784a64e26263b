"""How much memory a rank will take, and whether it is there.

An upper bound, made from shapes alone, with these assumptions:

- every encoding has `max_seq_length` tokens (real ones are shorter; windows of long passages and the choices
  of a question are encodings of their own), and a batch holds as many of each task;
- what is frozen is kept for the backward pass like the rest;
- a layer keeps 8 states of the hidden size in float32 (queries, keys, values, what goes into and comes out of
  attention, projections and norms), and twice its widest projection in the precision of the run; its
  conditional parts keep 6 more of the hidden size;
- dropout keeps 2 masks of the hidden size a layer. Attention under conditional scores or dropout keeps the
  probabilities of every head, and with dropout two more matrices of that size; a GPU's fused attention keeps
  the conditional scores alone;
- scoring keeps nothing, so it takes one layer at a time, of all candidates at once;
- weights, gradients and AdamW's two moments are float32; bfloat16 arithmetic keeps a copy of all weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from torch import nn

from camtl import CaMtlModel
from pipeline.doctor.finding import Finding, in_bytes

NAME = "memory"
FLOAT, HALF = 4, 2
HOST_PROCESS, GPU_PROCESS = (
    500_000_000,
    1_000_000_000,
)  # Python's libraries; CUDA's context, and unused blocks
MEND = (
    "raise train.gradient_accumulation, set train.gradient_checkpointing true, "
    "lower train.batch_size, sampler.pool or data.max_seq_length, or take more workers or a smaller backbone"
)


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What the memory of a model depends on.

    Attributes:
        parameters: All of them.
        trainable: Those that are not frozen.
        hidden: Width of a token's state.
        widest: Widest projection of a layer (BERT's intermediate size).
        layers, heads: Numbers of them.
        conditional: Whether there are conditional parts.
        conditional_attention: Whether attention scores are conditioned.
        dropout: Whether there is any.
    """

    parameters: int
    trainable: int
    hidden: int
    widest: int
    layers: int
    heads: int
    conditional: bool
    conditional_attention: bool
    dropout: bool


@dataclass(frozen=True)
class Estimate:
    """Bytes of one rank, by what they are for."""

    weights: int
    gradients: int
    moments: int
    activations: int
    process: int

    @property
    def total(self) -> int:
        """All together."""
        return sum(getattr(self, field.name) for field in fields(self))


def shape_of(model: CaMtlModel) -> ModelShape:
    """The shape of a model, which may be on the meta device."""
    encoder = model.encoder.config
    return ModelShape(
        parameters=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        hidden=encoder.hidden_size,
        widest=max(part.out_features for part in model.layers()[0].modules() if isinstance(part, nn.Linear)),
        layers=len(model.layers()),
        heads=encoder.num_attention_heads,
        conditional=bool(model.config.has_conditions),
        conditional_attention=bool(model.config.conditional_attention),
        dropout=any(part.p > 0 for part in model.modules() if isinstance(part, nn.Dropout)),
    )


def estimate_bytes(
    shape: ModelShape,
    *,
    rows: int,
    candidates: int,
    encodings_per_row: float,
    max_seq_length: int,
    bfloat16: bool,
    on_gpu: bool,
    gradient_checkpointing: bool,
) -> Estimate:
    """The most memory that one rank will take, see the assumptions above.

    Args:
        shape: Of the model.
        rows: Rows of one micro-batch of a rank.
        candidates: Rows that a rank scores at once; 0 where nothing is scored.
        encodings_per_row: Mean over the tasks; 1 where there are no windows and no choices.
        max_seq_length: Tokens of an encoding.
        bfloat16: Whether matrix products are in bfloat16.
        on_gpu: Whether the memory is a GPU's.
        gradient_checkpointing: Whether layers are recomputed in the backward pass.
    """
    layer = _bytes_per_token_and_layer(shape, max_seq_length, bfloat16, on_gpu)
    state = FLOAT * shape.hidden
    # Beside the layers: embeddings, alignment and bottleneck, and for every pair of tokens where its score is
    # (int64) and whether it counts (float32).
    around = (12 if shape.conditional else 6) * state + max_seq_length * (8 + FLOAT)
    kept = 2 * state * shape.layers + layer if gradient_checkpointing else layer * shape.layers
    tokens_per_row = encodings_per_row * max_seq_length
    training = round(rows * tokens_per_row) * (kept + around)
    scoring = round(candidates * tokens_per_row) * (layer + around)
    return Estimate(
        weights=(FLOAT + (HALF if bfloat16 else 0)) * shape.parameters,
        gradients=FLOAT * shape.trainable,
        moments=2 * FLOAT * shape.trainable,
        activations=max(training, scoring),
        process=GPU_PROCESS if on_gpu else HOST_PROCESS,
    )


def _bytes_per_token_and_layer(shape: ModelShape, width: int, bfloat16: bool, on_gpu: bool) -> int:
    states = 8 + (6 if shape.conditional else 0) + (2 if shape.dropout else 0)
    matrices = 0
    if on_gpu:
        matrices = FLOAT * width if shape.conditional_attention else 0
    elif shape.conditional_attention or shape.dropout:
        matrices = FLOAT * width * shape.heads * (3 if shape.dropout else 1)
    return FLOAT * states * shape.hidden + 2 * (HALF if bfloat16 else FLOAT) * shape.widest + matrices


def check_gpus(needed: int, free: Mapping[str, Sequence[int] | None]) -> list[Finding]:
    """Whether every GPU has room for a rank.

    Args:
        needed: Bytes of a rank.
        free: {node: free bytes of each GPU, None where they could not be asked}, of the nodes with GPUs.
    """
    findings = [
        Finding(
            NAME, None, f"node {node} does not tell (no nvidia-smi); a worker may need {in_bytes(needed)}"
        )
        for node, gpus in free.items()
        if not gpus
    ]
    too_small = [
        f"GPU {number} of node {node} has {in_bytes(there)}"
        for node, gpus in free.items()
        for number, there in enumerate(gpus or ())
        if there < needed
    ]
    if too_small:
        told = f"a worker may need {in_bytes(needed)} of GPU memory: {', '.join(too_small)} free"
        findings.append(Finding(NAME, False, told, f"{MEND}; or end what else runs there"))
    elif known := [there for gpus in free.values() for there in gpus or ()]:
        told = f"a worker needs at most {in_bytes(needed)} of GPU memory, {in_bytes(min(known))} and more are free"
        findings.append(Finding(NAME, True, told))
    return findings


def check_hosts(needed: int, workers: Mapping[str, int], free: Mapping[str, int]) -> list[Finding]:
    """Whether every machine has room for the ranks that may come to it.

    Args:
        needed: Bytes of a rank.
        workers: {node: most ranks that its CPUs can hold}.
        free: {node: free bytes}.
    """
    too_small = [
        f"{workers[node]} on node {node}, which has {in_bytes(there)} free"
        for node, there in free.items()
        if workers[node] * needed > there
    ]
    if too_small:
        told = f"a worker may need {in_bytes(needed)} of memory: {', '.join(too_small)}"
        return [Finding(NAME, False, told, MEND)]
    most = max(workers.values(), default=0)
    told = f"{most} worker{'s' * (most != 1)} on a node of at most {in_bytes(needed)} each"
    return [Finding(NAME, True, f"{told}, {in_bytes(min(free.values(), default=0))} and more are free")]
