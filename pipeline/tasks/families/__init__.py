"""The tasks of each published collection, one file per collection; `pipeline.tasks.registry` collects them."""
