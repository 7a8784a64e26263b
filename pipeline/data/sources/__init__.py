"""Reads source rows: from the Hub, a folder laid out like it, the embedded suite, or a task's own files.

Used by `pipeline.data.preparation`, the checks before a run and the doctor.
"""
