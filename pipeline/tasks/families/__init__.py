"""The tasks of each published collection, one module per collection; `pipeline.tasks.registry` collects them."""
