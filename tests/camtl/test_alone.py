"""The example of docs/model.md: the model without the rest of the project."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "model.md"


def test_the_example_of_the_documentation_trains_two_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [example] = [text for text in examples if "from_backbone" in text]
    torch.manual_seed(0)
    variables: dict[str, Any] = {}
    exec(example, variables)
    assert capsys.readouterr().out.splitlines()[-1] == "{'sentiment': [1, 0], 'topic': [0, 1, 2]}"
    assert variables["loss"].item() < 0.5
