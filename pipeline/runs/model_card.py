"""The README beside a model's weights: architecture, scores, how to load it."""

from collections.abc import Sequence
from typing import Any

from camtl import CaMtlModel
from camtl.parameters import format_table, parameter_table
from pipeline.tasks.base import Task


def model_card(model: CaMtlModel, tasks: Sequence[Task], results: dict[str, Any], settings: str) -> str:
    """The card in Markdown; `model` has the parameters frozen that training froze, `settings` is YAML."""
    config = model.config
    revision = f" (revision {config.backbone_revision})" if config.backbone_revision else ""
    rows = "\n".join(
        f"| {number} | {task.name} | {task.head.kind} | "
        + ", ".join(f"{name} {value:.1f}" for name, value in results["tasks"][task.name].items())
        + f" | {task.description} |"
        for number, task in enumerate(tasks)
    )
    parameters = results["parameters"]
    return f"""# CA-MTL ({config.variant}) on {config.backbone}{revision}

One encoder for {len(tasks)} tasks, conditioned on the task of every row
(Pilault et al., *Conditionally Adaptive Multi-Task Learning*, ICLR 2021).

| task id | task | kind | validation | |
|---|---|---|---|---|
{rows}

Average {results["average"]:.2f} at step {results["best_step"]} (seed {results["seed"]}), trained on
{results["rows_trained"]} rows, {100 * results["fraction_of_data"]:.1f} % of the data.
{parameters["total"]:,} parameters, {parameters["versus_separate_models"]:.2f} times those of
{len(tasks)} separate models; {parameters["trainable"]:,} were trained.

```python
import torch
from transformers import AutoTokenizer
from camtl import CaMtlModel

model = CaMtlModel.from_pretrained("model").eval()
batch = AutoTokenizer.from_pretrained("model")(["A sentence."], return_tensors="pt")
task_id = model.config.tasks.index("{tasks[0].name}")
logits = model(**batch, task_ids=torch.tensor([task_id])).logits["{tasks[0].name}"]
```

## Where the parameters are

```
{format_table(parameter_table(model))}
```

## Settings

```yaml
{settings.strip()}
```
"""
