"""Which rows are trained next: `policies` weigh the tasks, `plan` picks the rows, `batches` brings them.

Used by `pipeline.training` and `pipeline.cluster`. Pure functions over numpy; only `ray_data.py` imports Ray.
"""
