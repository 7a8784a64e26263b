"""Hyperparameter search with Ray Tune: search space, trials, resuming a sweep, its results and figures."""
