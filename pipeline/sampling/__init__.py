"""Which rows are trained next: task weights, the plan of a round, and the stream of candidate batches.

Pure functions and numpy; `ray_data.py` alone imports Ray.
"""
