"""Ray around the model: tasks, prepared data, sampling, training, evaluation, records."""

import os

# Read when mlflow is imported, which more than one of these modules may be the first to do: a training job sends
# no usage data anywhere unless its owner asks for it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
