"""A trained model in use: the MLflow model that answers rows of any of its tasks.

Used by `experiments`, which logs it at the end of a run, and by MLflow, which loads it on a serving machine.
"""
