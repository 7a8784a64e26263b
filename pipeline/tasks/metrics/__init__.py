"""Official metrics on the 0–100 scale, one module per family of metrics; `scores.py` applies them to a task."""
