"""Checkpoints: contents and verification, the store of a run, its file system, retries of failed I/O."""
