"""Checks before a long run: one small check per cause that could stop the run hours later.

`examination.examine` runs them in order and yields `Finding`s; `jobs/doctor.py` prints these. Nothing is
imported here, since every node imports `nodes` and must not import torch.
"""
