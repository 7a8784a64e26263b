"""The model without the rest of the project: the example of docs/model.md, as a user would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHECK = """
import sys
print("loss", loss.item())
assert not {"ray", "pipeline", "mlflow"} & set(sys.modules), "camtl needs more than torch and transformers"
"""


def test_the_example_of_the_readme_trains_two_tasks_without_ray() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "model.md").read_text(), re.DOTALL)
    [example] = [block for block in blocks if "from_backbone" in block]
    done = subprocess.run(
        [sys.executable, "-c", example + CHECK],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[-2] == "{'sentiment': [1, 0], 'topic': [0, 1, 2]}"
    assert float(said[-1].removeprefix("loss ")) < 0.5
