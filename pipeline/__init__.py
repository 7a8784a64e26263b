"""Ray around the model, from a source row to a trained run; a package imports only those below it here.

doctor/       checks before a long run
experiments/  one run or many: assembly, train, seeds, evaluate; tune/, compare/
serving/      a trained model at work: the MLflow model
cluster/      many ranks: Ray connection, Ray Train workers, reports
training/     one rank: loop, scoring, selection, evaluation (no Ray)
runs/         what a run leaves on disk; checkpoints/
tracking/     MLflow
sampling/     task weights, the plan of a round, candidate batches; ray_data.py alone imports Ray
data/         source rows to prepared Parquet: sources/, formats/, preparation/
tasks/        what a task is: families/, metrics/, decoding, the embedded suite
"""

import os

# MLflow reads this when it is first imported, which may happen in any module below: send no usage data by default.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
