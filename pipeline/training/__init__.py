"""One rank: the loop, candidate scoring, selection, the optimiser step, evaluation and helpers for many ranks.

No Ray, no MLflow: a test or a debugger calls `loop.train_on_rank` directly.
"""
