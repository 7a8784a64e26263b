"""A run directory: creation and resumption, records, events, results, figures and model card; `checkpoints/` stores.

Used by `training` (record and checkpoint formats), `cluster`, `experiments` and `doctor`.
"""
