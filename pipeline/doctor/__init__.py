"""What can be found out about a run before it begins: one small check per thing that could stop it hours later.

Checks give `Finding`s and never stop each other; `examination.examine` runs them in an order in which each can
use what the ones before it found. Nothing is imported here: every node imports `node`, and shall not import torch.
"""
