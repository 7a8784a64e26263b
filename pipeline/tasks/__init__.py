"""What a task is: `base.Task`, the known tasks (`families/`), their metrics, decoding and the embedded suite.

No I/O, no Ray. Used by every package above; `registry.resolve_tasks` turns names into tasks.
"""
