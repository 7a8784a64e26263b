"""An upper bound of the memory of one rank, from shapes alone.

The driver often has no GPU and the GPU nodes may not have started, so nothing is measured. Assumptions:

- every encoding has `max_seq_length` tokens; windows of a passage and choices of a question are encodings;
- frozen layers keep as much for the backward pass as others;
- a layer keeps 8 states of the hidden size in float32 (queries, keys, values, inputs and outputs of attention,
  projections and norms), and its widest projection twice in the precision of the run; its conditional parts
  keep 6 more states;
- dropout keeps 2 masks of the hidden size per layer. Attention with conditional scores or dropout keeps the
  probabilities of every head, and with dropout two more matrices of that size; the fused attention of a GPU
  keeps the conditional scores only;
- scoring keeps nothing between layers, so it needs one layer at a time, for all candidates at once;
- weights, gradients and AdamW's two moments are float32; bfloat16 arithmetic adds a copy of all weights.
"""

from __future__ import annotations

from torch import nn

from camtl import CaMtlModel

FLOAT, HALF = 4, 2
HOST_PROCESS = 500_000_000  # Python's libraries
GPU_PROCESS = 1_000_000_000  # CUDA's context, and unused blocks of the allocator


def rank_bytes(
    model: CaMtlModel,
    *,
    rows: int,
    candidates: int,
    encodings_per_row: float,
    max_seq_length: int,
    bfloat16: bool,
    on_gpu: bool,
    gradient_checkpointing: bool,
) -> int:
    """Returns the most memory that one rank takes.

    Args:
        model: May be on the meta device.
        rows: Of one micro-batch of a rank.
        candidates: Rows that a rank scores at once; 0 without scoring.
        encodings_per_row: Mean over the tasks.
        max_seq_length, bfloat16, on_gpu, gradient_checkpointing: As in the settings.
    """
    parameters = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = (FLOAT + HALF * bfloat16) * parameters + 3 * FLOAT * trainable  # with gradients and moments
    encoder, layers = model.encoder.config, model.layers()
    state = FLOAT * encoder.hidden_size
    widest = max(part.out_features for part in layers[0].modules() if isinstance(part, nn.Linear))
    dropout = any(part.p > 0 for part in model.modules() if isinstance(part, nn.Dropout))
    conditional = bool(model.config.has_conditions)
    conditional_scores = bool(model.config.conditional_attention)
    matrices = 0  # of attention, [tokens, max_seq_length] each
    if on_gpu:
        matrices = int(conditional_scores)
    elif conditional_scores or dropout:
        matrices = encoder.num_attention_heads * (3 if dropout else 1)
    per_layer = (8 + 6 * conditional + 2 * dropout) * state
    per_layer += 2 * (HALF if bfloat16 else FLOAT) * widest + matrices * FLOAT * max_seq_length
    # Outside the layers: embeddings, alignment and bottleneck, and for every pair of tokens the index of its
    # score (int64) and its mask (float32).
    outside = (12 if conditional else 6) * state + max_seq_length * (8 + FLOAT)
    kept = per_layer * len(layers)
    if gradient_checkpointing:
        kept = 2 * state * len(layers) + per_layer
    tokens_per_row = encodings_per_row * max_seq_length
    training = round(rows * tokens_per_row) * (kept + outside)
    scoring = round(candidates * tokens_per_row) * (per_layer + outside)
    return weights + max(training, scoring) + (GPU_PROCESS if on_gpu else HOST_PROCESS)
