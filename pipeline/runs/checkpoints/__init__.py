"""Checkpoints: their files and verification, the store of a run, its file systems, retries of failed I/O.

Used by `training` and `cluster`, which write and resume checkpoints, and by the rest of `runs`.
"""
