"""A trial that trains nothing. Its process imports little, so that it starts fast."""

from dataclasses import dataclass
from typing import Any

from ray import tune

from pipeline.config import Settings
from pipeline.experiments.tune.space import Space


@dataclass(frozen=True)
class StubTrainable:
    """Reports the drawn dropout as its score, and fails above 0.9."""

    base: Settings
    space: Space

    def train(self, config: dict[str, Any]) -> None:
        score = config["drawn"]["model.dropout"]
        assert score < 0.9
        tune.report({"step": 1, "average": score, "rows_trained": 8, "ended": False})
        final = {"step": 2, "average": score, "rows_trained": 16, "parameters": 7, "seconds": 1.0}
        tune.report({**final, "ended": True})
