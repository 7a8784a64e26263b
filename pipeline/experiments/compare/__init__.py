"""Finished runs side by side: found in MLflow, grouped by settings, with tables, a figure and paired tests over seeds.

Used by `jobs/compare.py` and by groups of seeds.
"""
