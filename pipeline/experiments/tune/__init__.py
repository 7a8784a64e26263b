"""Hyperparameter search with Ray Tune and Optuna: search space, trials, records, report. Used by `jobs/tune_mtl.py`.

A sweep continues from `trials.json`; nothing that Ray Tune stores is read again.
"""
