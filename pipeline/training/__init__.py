"""One rank of a training: `loop` takes each step, with `scoring`, `selection` and `learner`; `evaluation` measures.

Used by `pipeline.cluster`, which starts the ranks. Imports no Ray and no MLflow.
"""
