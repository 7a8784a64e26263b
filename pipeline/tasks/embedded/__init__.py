"""Six generated tasks that need no network: the default run and the tests train on them.

`suite.py` declares them; the other modules contain vocabulary and templates.
"""
