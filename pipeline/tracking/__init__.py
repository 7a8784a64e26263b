"""MLflow: creates and resumes runs, sends metrics and files, and keeps a run alive while the server is down.

Used by `runs` and `experiments`; `doctor` checks that the server can be reached.
"""
