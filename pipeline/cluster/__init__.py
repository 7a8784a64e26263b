"""Training on many ranks: Ray connection, Ray Train workers, their reports, evaluation beside training.

`experiments` calls `launch.launch`; the doctor uses `connection`.
"""
