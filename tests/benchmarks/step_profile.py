"""Where a training step's time goes, and how much of the processor's peak it reaches.

    python tests/benchmarks/step_profile.py [--shape bert-base] [--variant base] [--rows 32] [--length 64]

Weights are random and rows full: only shapes matter here. Forward time is told by part of the model and
operators by their own time; the floating-point operations of a step, counted, are held against a large
matrix product measured in the same run. On a GPU a step that waits for the device is an error. Ends
with one line of JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from pipeline.training.learner import Learner, make_optimizer, make_schedule
from pipeline.training.scoring import Precision

SHAPES = {
    "minilm": {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
    "bert-base": {},
    "bert-large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}
PARTS: dict[type[nn.Module], str] = {
    ConditionalAlignment: "conditional alignment",
    ConditionalAttentionBias: "conditional attention",
    ConditionalBottleneck: "conditional bottleneck",
    ConditionalLayerNorm: "conditional layer norm",
    ClassificationHead: "heads",
}
TASKS = 8
PROFILED_STEPS = 3


def make_learner(shape: str, variant: str, length: int, device: torch.device) -> Learner:
    """A model of random weights with 8 tasks, and what trains it."""
    tasks = [f"task{number}" for number in range(TASKS)]
    config = CaMtlConfig(
        variant=variant,
        tasks=tasks,
        heads={task: HeadSpec(num_labels=3) for task in tasks},
        max_seq_length=max(128, length),
        backbone_config={"model_type": "bert", **SHAPES[shape]},
    )
    model = CaMtlModel(config)
    nn.Module.to(model, device)
    freeze(model, "bottom_half")
    optimizer = make_optimizer(
        model, learning_rate=1e-5, new_parameters_learning_rate=1e-5, weight_decay=0.01
    )
    return Learner(
        model,
        optimizer,
        make_schedule(optimizer, 10_000, 0.1),
        Precision(device, has_bfloat16(device)),
        max_grad_norm=1.0,
        gradient_accumulation=1,
    )


def make_rows(rows: int, length: int) -> TokenRows:
    """Rows of `length` random tokens, the tasks in turn."""
    random = np.random.default_rng(0)
    return TokenRows(
        input_ids=random.integers(1000, 20_000, rows * length),
        token_type_ids=np.zeros(rows * length, np.int64),
        offsets=np.arange(rows + 1) * length,
        task_ids=np.arange(rows) % TASKS,
        labels=random.integers(0, 3, rows).astype(np.float32),
        row_ids=np.arange(rows),
    )


@contextmanager
def parts_recorded(model: CaMtlModel) -> Iterator[None]:
    """Every conditional part, and the encoder's attention and feed-forward, under its name in the profile."""
    handles = []
    open_records: list[Any] = []

    def begin(part: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            record = record_function(f"part: {part}")
            record.__enter__()
            open_records.append(record)

        return hook

    def end(*_: Any) -> None:
        open_records.pop().__exit__(None, None, None)

    named = {**PARTS, type(model.encoder.get_submodule("embeddings")): "embeddings"}
    for name, module in model.named_modules():
        part = named.get(type(module))
        if part is None and name.endswith(".attention.self"):
            part = "self-attention"
        if part is None and name.endswith((".intermediate", "layer.output.dense")):
            part = "feed-forward"
        if part is not None:
            handles += [module.register_forward_pre_hook(begin(part)), module.register_forward_hook(end)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def timed(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median seconds of a call, the device waited for."""
    seconds = []
    for repeat in range(repeats + 2):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if repeat >= 2:
            seconds.append(time.perf_counter() - began)
    return median(seconds)


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large square matrix product."""
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / timed(lambda: left @ right, device, 5)


@contextmanager
def no_synchronisation(device: torch.device) -> Iterator[None]:
    """Whatever makes the host wait for the GPU raises."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="minilm")
    parser.add_argument("--variant", choices=("base", "large", "none"), default="base")
    parser.add_argument("--rows", type=int, default=32, help="rows of a step")
    parser.add_argument("--length", type=int, default=64, help="tokens of a row")
    parser.add_argument("--repeats", type=int, default=5, help="steps that count")
    parser.add_argument("--compile", action="store_true", help="the encoder through torch.compile")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    learner = make_learner(arguments.shape, arguments.variant, arguments.length, device)
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
    seconds = timed(step, device, arguments.repeats)
    with no_synchronisation(device):
        step()
    dtype = torch.bfloat16 if learner.precision.bfloat16 else torch.float32
    peak = peak_flops(device, dtype)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with parts_recorded(learner.model), profile(activities=activities) as profiled:
        began = time.perf_counter()
        for _ in range(PROFILED_STEPS):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        profiled_seconds = (time.perf_counter() - began) / PROFILED_STEPS
    events = profiled.key_averages()
    total = "device_time_total" if device.type == "cuda" else "cpu_time_total"
    parts = {
        event.key.removeprefix("part: "): getattr(event, total) / 1e6 / PROFILED_STEPS
        for event in events
        if event.key.startswith("part: ")
    }
    share = counter.get_total_flops() / seconds / peak
    print(
        f"{arguments.shape} {arguments.variant}, {arguments.rows} rows of {arguments.length} tokens, {device}, "
        f"{str(dtype).removeprefix('torch.')}{', compiled' if arguments.compile else ''}\n"
        f"  {seconds:.3f} s a step, {arguments.rows / seconds:.1f} rows/s, "
        f"{share:.0%} of a matrix product's {peak / 1e12:.2f} TFLOP/s\n\nforward time by part, with the profiler on"
    )
    for part, value in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {part:26} {value * 1e3:8.1f} ms   {value / profiled_seconds:5.1%} of a step")
    own = f"self_{total}"
    print(
        "\noperators by their own time\n" + events.table(sort_by=own, row_limit=12, max_name_column_width=44)
    )
    print(
        json.dumps(
            {
                "seconds": seconds,
                "rows_per_second": arguments.rows / seconds,
                "flops": counter.get_total_flops(),
                "peak_flops_per_second": peak,
                "share_of_peak": share,
                "forward_seconds_by_part": parts,
            }
        )
    )


if __name__ == "__main__":
    main()
