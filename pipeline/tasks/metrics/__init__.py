"""Official metrics on the 0–100 scale, one file per family of metrics; `scores.py` measures a task with them."""
