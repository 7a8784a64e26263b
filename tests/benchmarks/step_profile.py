"""The time of a training step by part of the model, and its share of the processor's peak.

    python tests/benchmarks/step_profile.py [--shape bert-base] [--variant base] [--rows 32] [--length 64]

Weights are random and rows are full, because only shapes matter here. Prints the forward time by part of the
model and the operators by their own time. Compares the counted floating-point operations of a step with a large
matrix product measured in the same run. On a GPU a step that waits for the device is an error. The last line
is JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from camtl import CaMtlConfig, CaMtlModel, HeadSpec, TokenRows
from camtl.freezing import freeze
from camtl.heads.pooled import ClassificationHead
from camtl.modules.bottleneck import ConditionalBottleneck
from camtl.modules.conditional_alignment import ConditionalAlignment
from camtl.modules.conditional_attention import ConditionalAttentionBias
from camtl.modules.conditional_layer_norm import ConditionalLayerNorm
from pipeline.training.distributed import has_bfloat16
from pipeline.training.learner import Learner
from tests.benchmarks.common import make_parser, time_in_turn
from tests.benchmarks.step import make_learner

# Hidden size, layers, attention heads, intermediate size.
SHAPES = {
    "minilm": (384, 6, 12, 1536),
    "bert-base": (768, 12, 12, 3072),
    "bert-large": (1024, 24, 16, 4096),
}
SHAPE_FIELDS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
PARTS: dict[type[nn.Module], str] = {
    ConditionalAlignment: "conditional alignment",
    ConditionalAttentionBias: "conditional attention",
    ConditionalBottleneck: "conditional bottleneck",
    ConditionalLayerNorm: "conditional layer norm",
    ClassificationHead: "heads",
}
TASKS = 8
PROFILED_STEPS = 3


def random_learner(shape: str, variant: str, length: int, device: torch.device) -> Learner:
    """A learner of a model with random weights and 8 tasks."""
    tasks = [f"task{number}" for number in range(TASKS)]
    config = CaMtlConfig(
        variant=variant,
        tasks=tasks,
        heads={task: HeadSpec(num_labels=3) for task in tasks},
        max_seq_length=max(128, length),
        backbone_config={"model_type": "bert", **dict(zip(SHAPE_FIELDS, SHAPES[shape], strict=True))},
    )
    model = CaMtlModel(config)
    nn.Module.to(model, device)
    freeze(model, "bottom_half")
    return make_learner(model, device, bfloat16=has_bfloat16(device))


def make_rows(rows: int, length: int) -> TokenRows:
    """Rows of `length` random tokens, of each task in turn."""
    random = np.random.default_rng(0)
    return TokenRows(
        input_ids=random.integers(1000, 20_000, rows * length),
        token_type_ids=np.zeros(rows * length, np.int64),
        offsets=np.arange(rows + 1) * length,
        task_ids=np.arange(rows) % TASKS,
        labels=random.integers(0, 3, rows).astype(np.float32),
        row_ids=np.arange(rows),
    )


def name_parts(model: CaMtlModel) -> None:
    """Names every conditional part, and the encoder's attention and feed-forward, in the profile."""
    parts = {**PARTS, type(model.encoder.get_submodule("embeddings")): "embeddings"}
    for name, module in model.named_modules():
        part = parts.get(type(module))
        if name.endswith(".attention.self"):
            part = "self-attention"
        elif name.endswith((".intermediate", "layer.output.dense")):
            part = "feed-forward"
        if part is not None:
            module.forward = record_function(f"part: {part}")(module.forward)


def median_seconds(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median seconds of a call, including the device's work."""

    def run_and_wait() -> None:
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()

    run_and_wait()
    return median(time_in_turn({"run": run_and_wait}, repeats)["run"])


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large square matrix product."""
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / median_seconds(lambda: left @ right, device, 5)


def main() -> None:
    """Measures and prints."""
    parser = make_parser(__doc__, data=False)
    parser.add_argument("--shape", choices=SHAPES, default="minilm")
    parser.add_argument("--variant", choices=("base", "large", "none"), default="base")
    parser.add_argument("--rows", type=int, default=32, help="rows per step")
    parser.add_argument("--length", type=int, default=64, help="tokens per row")
    parser.add_argument("--repeats", type=int, default=5, help="steps to count")
    parser.add_argument("--compile", action="store_true", help="compile the encoder with torch.compile")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    learner = random_learner(arguments.shape, arguments.variant, arguments.length, device)
    rows = make_rows(arguments.rows, arguments.length)
    rows_per_task = np.bincount(rows.task_ids, minlength=TASKS).astype(np.float64)

    def step() -> None:
        learner.step(rows, rows_per_task)

    counter = FlopCounterMode(display=False)
    with counter:
        step()
    if arguments.compile:
        model = learner.model
        model.encode = torch.compile(model.encode, fullgraph=True, dynamic=True)  # type: ignore[method-assign]
    seconds = median_seconds(step, device, arguments.repeats)
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")  # raises an error if the host waits for the device
        step()
        torch.cuda.set_sync_debug_mode("default")
    dtype = torch.bfloat16 if learner.precision.bfloat16 else torch.float32
    peak = peak_flops(device, dtype)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    name_parts(learner.model)
    with profile(activities=activities) as profiled:
        start = time.perf_counter()
        for _ in range(PROFILED_STEPS):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        profiled_seconds = (time.perf_counter() - start) / PROFILED_STEPS
    total = "device_time_total" if device.type == "cuda" else "cpu_time_total"
    events = profiled.key_averages()
    totals = {event.key: getattr(event, total) / 1e6 / PROFILED_STEPS for event in events}
    parts = {key.removeprefix("part: "): value for key, value in totals.items() if key.startswith("part: ")}
    share = counter.get_total_flops() / seconds / peak
    print(
        f"{arguments.shape} {arguments.variant}, {arguments.rows} rows of {arguments.length} tokens, {device}, "
        f"{str(dtype).removeprefix('torch.')}{', compiled' if arguments.compile else ''}\n"
        f"  {seconds:.3f} s a step, {arguments.rows / seconds:.1f} rows/s, "
        f"{share:.0%} of a matrix product's {peak / 1e12:.2f} TFLOP/s\n\nforward time by part, with the profiler on"
    )
    for part, value in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {part:26} {value * 1e3:8.1f} ms   {value / profiled_seconds:5.1%} of a step")
    print("\noperators by their own time")
    print(events.table(sort_by=f"self_{total}", row_limit=12, max_name_column_width=44))
    figures = {
        "seconds": seconds,
        "rows_per_second": arguments.rows / seconds,
        "flops": counter.get_total_flops(),
        "peak_flops_per_second": peak,
        "share_of_peak": share,
        "forward_seconds_by_part": parts,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
